package brokertest

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/eventbus-go/eventbus/brokers"
)

var refusalCases = []Case{
	{
		Name:        "the promises stay as they are",
		Explanation: "The bus decides at start-up what it may ask for; it does not ask again.",
		run:         promisesStay,
	},
	{
		Name: "a group is refused where groups are not promised",
		Explanation: "Members that each get every message would do everything as often as there are members. The " +
			"error is a *CapabilityError, so that the bus can name the brokers that could.",
		needs: []need{without(groups)},
		run: func(w *world) {
			w.refused(brokers.Subscription{Name: "billing", Channels: []string{w.h.Channel()}, Group: "billing"})
		},
	},
	{
		Name:        "a wildcard is refused where patterns are not promised",
		Explanation: "A subscription to what the broker takes for a channel's literal name gets nothing, for ever.",
		needs:       []need{without(patterns)},
		run: func(w *world) {
			w.refused(brokers.Subscription{Name: "billing", Channels: []string{w.h.Channel() + ".>"}})
		},
	},
	{
		Name: "a name that is no channel is rejected before the broker sees it, and its neighbours are not",
		Explanation: "A publish to $JS.API.STREAM.DELETE.X deletes a stream, one to __consumer_offsets breaks all groups of a " +
			"Kafka, and CR LF ends a protocol's line. The bus refuses such names; a driver that is used without it does too.",
		run: badNames,
	},
	{
		Name: "a subscription to a name that is no channel is refused before the broker sees it",
		Explanation: "What a broker makes of such a name is its own business: a subject of its administration, a wildcard of " +
			"another meaning, the end of a line. Waiting does not mend it: the refusal is not retryable.",
		run: badNamesToRead,
	},
	{
		Name: "headers that not every broker can carry are rejected before the broker sees them, and their neighbours are not",
		Explanation: "CR LF in a value is a header more, or a frame more; ten thousand headers, or a key that is too long, are over some " +
			"limit of each protocol, and a client that notices takes its whole connection down. The bus refuses them; a driver that is " +
			"used without it does too.",
		run: badHeaders,
	},
}

// badHeaderList are headers of which each is more than some broker can carry.
func badHeaderList() map[string][]brokers.Header {
	many := func(n int) (out []brokers.Header) {
		for i := range n {
			out = append(out, brokers.Header{Key: fmt.Sprint("h", i), Value: "v"})
		}
		return out
	}
	list := map[string][]brokers.Header{"10,000 headers": many(10_000), "one header too many": many(brokers.MaxHeaders + 1)}
	for _, n := range []int{brokers.MaxHeaderKey + 1, 64 << 10} {
		list[fmt.Sprintf("a key of %d bytes", n)] = []brokers.Header{{Key: strings.Repeat("k", n), Value: "v"}}
	}
	for _, key := range []string{"", "a b", "a:b", "a\r\nb", "a\x00", "ä", "a,b"} {
		list[fmt.Sprintf("the key %q", key)] = []brokers.Header{{Key: key, Value: "v"}}
	}
	for _, value := range []string{"a\r\nPUB b 0", "a\rb", "a\nb", "a\x00b"} {
		list[fmt.Sprintf("the value %q", value)] = []brokers.Header{{Key: "good", Value: "v"}, {Key: "bad", Value: value}}
	}
	return list
}

// longestKeys are headers with the longest keys that every broker carries, some of which begin as a driver's own headers may.
func longestKeys() (out []brokers.Header) {
	for _, begin := range []string{"K", "Eb-", "X-", "Nats-"} {
		key := begin + strings.Repeat("k", brokers.MaxHeaderKey-len(begin))
		out = append(out, brokers.Header{Key: key, Value: "a long key"})
	}
	return out
}

func badHeaders(w *world) {
	conn, ch := w.open(), w.h.Channel()
	sub := w.subscribe(conn, brokers.Subscription{Channels: []string{ch}})
	var batch, want []brokers.Message
	var names []string
	bad := badHeaderList()
	for _, name := range slices.Sorted(maps.Keys(bad)) {
		worse, good := w.message(ch, "k"), w.message(ch, "k")
		worse.Headers = bad[name]
		good.Headers = longestKeys()
		for len(good.Headers) < brokers.MaxHeaders {
			good.Headers = append(good.Headers, brokers.Header{Key: "X-" + strconv.Itoa(len(good.Headers)), Value: "a value, ä"})
		}
		batch, want, names = append(batch, worse, good), append(want, good), append(names, name)
	}
	err := conn.Publish(w.within(w.h.Patience), batch)
	for i, o := range w.outcomes(len(batch), err) {
		switch {
		case i%2 == 0 && o != brokers.Rejected:
			w.Errorf("a message with %s is %v, wants rejected", names[i/2], o)
		case i%2 == 1 && o != brokers.Confirmed:
			w.Errorf("the neighbour of a message with %s is %v, wants confirmed", names[i/2], o)
		}
	}
	if err != nil && conn.Retryable(err) {
		w.Errorf("%v is said to be retryable: it never goes away", err)
	}
	w.exactly(sub.waitFor("the neighbours arrive", want...), want)
}

// badNames are those that some broker takes for something of its own, or that no broker can have.
func badNameList() []string {
	return []string{
		"$JS.API.STREAM.DELETE.X", "$SYS.REQ", ">", "*", "a.>", "__consumer_offsets", "amq.direct\x00", "Amq.Direct", "a b",
		"a\r\nPUB b 0", "a\x00b", "a..b", ".a", "a.", "", "ä", string(bodyOf(64 << 10)),
	}
}

func badNames(w *world) {
	conn, ch := w.open(), w.h.Channel()
	sub := w.subscribe(conn, brokers.Subscription{Channels: []string{ch}, Group: w.group()})
	names := badNameList()
	var batch, want []brokers.Message
	for _, name := range names {
		good := w.message(ch, "k")
		batch, want = append(batch, w.message(name, "k"), good), append(want, good)
	}
	outcomes := w.outcomes(len(batch), conn.Publish(w.within(w.h.Patience), batch))
	for i, o := range outcomes {
		switch bad := i%2 == 0; {
		case bad && o != brokers.Rejected:
			w.Errorf("a message on %.40q is %v, wants rejected", batch[i].Channel, o)
		case !bad && o != brokers.Confirmed:
			w.Errorf("the neighbour of a message on %.40q is %v, wants confirmed", batch[i-1].Channel, o)
		}
	}
	w.exactly(sub.waitFor("the neighbours arrive", want...), want)
}

// badNamesToRead subscribes to what is no pattern.
func badNamesToRead(w *world) {
	conn := w.open()
	for _, name := range badNameList() {
		if _, err := brokers.ParsePattern(name); err == nil {
			continue
		}
		sub := w.start(conn, brokers.Subscription{Channels: []string{name}, Group: w.group()})
		w.await("Subscribe refuses what is no channel", w.h.Patience, sub.done)
		if sub.err == nil || conn.Retryable(sub.err) {
			w.Errorf("a subscription to %.40q returned %v, wants an error that is not retryable", name, sub.err)
		}
	}
}

func promisesStay(w *world) {
	conn := w.open()
	if caps := conn.Capabilities(); caps != w.caps {
		w.Errorf("two connections promise %+v and %+v", w.caps, caps)
	}
	ch := w.h.Channel()
	w.publish(conn, w.message(ch, "k"))
	sub := w.subscribe(conn, brokers.Subscription{Channels: []string{ch}})
	_ = sub.end()
	_ = conn.Close(w.within(w.h.Patience))
	if caps := conn.Capabilities(); caps != w.caps {
		w.Errorf("the promises were %+v and have become %+v", w.caps, caps)
	}
	if b, ok := conn.(brokers.Batcher); ok {
		if size := b.Batch(); size.Messages < 1 || size.Bytes < 1 || size != w.open().(brokers.Batcher).Batch() {
			w.Errorf("the size of batches %+v is none, or another one than the next connection's", size)
		}
	}
}

// refused fails unless Subscribe refuses s for a promise that the broker does not make.
func (w *world) refused(s brokers.Subscription) {
	w.Helper()
	conn := w.open()
	sub := w.start(conn, s)
	w.await("Subscribe refuses what is not promised", w.h.Patience, sub.done)
	var ce *brokers.CapabilityError
	if !errors.As(sub.err, &ce) {
		w.Fatalf("Subscribe returned %v, wants a *CapabilityError", sub.err)
	}
	if ce.Subscription != s.Name || ce.Needs == "" || ce.Broker == "" {
		w.Errorf("the *CapabilityError leaves something out: %+v", ce)
	}
	if conn.Retryable(sub.err) {
		w.Errorf("the refusal is said to be retryable")
	}
}
