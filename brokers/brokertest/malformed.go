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
