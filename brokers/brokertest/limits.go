package brokertest

import (
	"bytes"

	"github.com/eventbus-go/eventbus/brokers"
)

var limitCases = []Case{
	{
		Name: "a body over the broker's limit is rejected, and its neighbours are not",
		Explanation: "A body that the broker will never take must not be sent again and again, nor take its whole " +
			"batch with it.",
		needs: []need{maxBytes},
		run:   overTheBrokersLimit,
	},
	{
		Name: "a body over the subscription's limit is cut and marked",
		Explanation: "A body of 100 MB must not be handled like any other: it is delivered as malformed, with its " +
			"first bytes and its size, and the next one arrives. A body of exactly the limit is whole.",
		run: overTheSubscriptionsLimit,
	},
}

func overTheBrokersLimit(w *world) {
	conn, ch := w.open(), w.h.Channel()
	sub := w.subscribe(conn, brokers.Subscription{Channels: []string{ch}})
	batch := w.messages(3, ch)
	batch[1].Body = bodyOf(w.caps.MaxBytes + 1)
	err := conn.Publish(w.within(w.h.Patience), batch)
	for i, o := range w.outcomes(len(batch), err) {
		want := brokers.Confirmed
		if i == 1 {
			want = brokers.Rejected
		}
		if o != want {
			w.Errorf("message %d of %d bytes is %v, wants %v (MaxBytes is %d)", i, len(batch[i].Body), o, want, w.caps.MaxBytes)
		}
	}
	want := []brokers.Message{batch[0], batch[2]}
	w.exactly(sub.waitFor("the neighbours arrive", want...), want)
}

func overTheSubscriptionsLimit(w *world) {
	conn, ch := w.open(), w.h.Channel()
	const limit = 1000
	sub := w.subscribe(conn, brokers.Subscription{Channels: []string{ch}, MaxBytes: limit})
	exact, over, after := w.message(ch, "k"), w.message(ch, "k"), w.message(ch, "k")
	exact.Body = bodyOf(limit)
	over.Body = bytes.Repeat([]byte{'o'}, 50*limit)
	w.publish(conn, exact, over, after)
	for _, a := range sub.waitCount("all three arrive", 3) {
		switch {
		case same(a.Message, exact), same(a.Message, after):
			if a.Malformed != "" || a.Size != 0 {
				w.Errorf("a body of %d bytes is marked %q (size %d) with a limit of %d", len(a.Body), a.Malformed, a.Size, limit)
			}
		case a.Malformed != brokers.ReasonTooLarge:
			w.Errorf("a body of %d bytes is marked %q, wants %q", len(over.Body), a.Malformed, brokers.ReasonTooLarge)
		case a.Size != len(over.Body):
			w.Errorf("a body of %d bytes is said to be %d bytes long", len(over.Body), a.Size)
		case len(a.Body) > limit || !bytes.HasPrefix(over.Body, a.Body):
			w.Errorf("a body over the limit has %d bytes; it has to be its first bytes, at most %d", len(a.Body), limit)
		}
	}
}
