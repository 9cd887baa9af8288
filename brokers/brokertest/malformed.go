package brokertest

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/eventbus-go/eventbus/brokers"
)

var malformedCases = []Case{
	{
		Name: "no entry ends the subscription, whatever is in it",
		Explanation: "One foreign entry that stops a service, or that it reads again and again, is an outage that " +
			"anybody with a command line can cause.",
		needs: []need{canInject},
		run:   badEntriesAreSurvived,
	},
	{
		Name: "a foreign entry is delivered, marked or as it came",
		Explanation: "It is the bus that counts it, hands it to a hook and settles it. An entry that a driver " +
			"drops in silence is missed by nobody until somebody looks for it.",
		needs: []need{canInject},
		run:   foreignEntriesAreDelivered,
	},
	{
		Name: "a thousand foreign entries among the good ones keep none of those back",
		Explanation: "Somebody points the wrong program at the wrong channel for a minute. Every good event is handled, and " +
			"every foreign one is handed over once, so that it is counted.",
		needs: []need{durable, groups, canInject},
		run:   manyForeignEntries,
	},
}

func manyForeignEntries(w *world) {
	conn, ch := w.open(), w.h.Channel()
	foreign := 0
	sub := w.subscribe(conn, brokers.Subscription{Channels: []string{ch}, Group: w.group()})
	var good []brokers.Message
	for foreign < sized(1_000, 60) {
		for range 10 {
			w.inject(ch, fmt.Appendf(nil, "foreign %d", foreign))
			foreign++
		}
		batch := w.messages(20, ch)
		w.publish(conn, batch...)
		good = append(good, batch...)
	}
	got := sub.waitCount("every good message and every foreign entry arrives", len(good)+foreign)
	seen := make(map[string]bool)
	for _, a := range got {
		if bytes.HasPrefix(a.Body, []byte("foreign ")) {
			seen[string(a.Body)] = true
		}
	}
	if lost := missing(got, good); len(lost) > 0 || len(seen) != foreign {
		w.Errorf("%d good messages are missing, and %d of %d foreign entries were handed over", len(lost), len(seen), foreign)
	}
	w.figure("foreign entries: %d among %d good messages, all handed over, none lost", foreign, len(good))
}

// foreignBodies are what a foreign client may send. None is empty, since not every broker can carry that.
func foreignBodies() [][]byte {
	return [][]byte{
		[]byte("not JSON"), {0}, {0xff, 0xfe, 0xfd}, []byte("*3\r\n$7\r\nmessage\r\n"), []byte("{\"a\":1}{\"a\":2}"),
		[]byte(strings.Repeat("[", 10_000)), []byte("+OK\r\n"), []byte("null"), bytes.Repeat([]byte{'\n'}, 70_000),
	}
}

func badEntriesAreSurvived(w *world) {
	conn, ch := w.open(), w.h.Channel()
	sub := w.subscribe(conn, brokers.Subscription{Channels: []string{ch}, Group: w.group()})
	var good []brokers.Message
	for range 5 {
		for _, body := range foreignBodies() {
			w.inject(ch, body)
			m := w.message(ch, fmt.Sprint("key-", len(good)))
			w.publish(conn, m)
			good = append(good, m)
		}
	}
	sub.waitFor("every good message arrives", good...)
	if isClosed(sub.done) {
		w.Errorf("Subscribe returned %v", sub.err)
	}
}

func foreignEntriesAreDelivered(w *world) {
	conn, ch := w.open(), w.h.Channel()
	sub := w.subscribe(conn, brokers.Subscription{Channels: []string{ch}})
	bodies := foreignBodies()
	for _, body := range bodies {
		w.inject(ch, body)
	}
	for _, a := range sub.waitCount("every foreign entry is delivered", len(bodies)) {
		known := false
		for _, body := range bodies {
			known = known || bytes.Equal(a.Body, body)
		}
		if !known && a.Malformed == "" {
			w.Errorf("a foreign entry arrived changed and not marked: %s", show(a.Message))
		}
	}
}

func (w *world) inject(channel string, body []byte) {
	w.Helper()
	if err := w.h.Inject(channel, body); err != nil {
		w.Fatalf("Inject: %v", err)
	}
}
