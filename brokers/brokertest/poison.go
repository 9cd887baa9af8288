package brokertest

import (
	"time"

	"github.com/eventbus-go/eventbus/brokers"
)

var poisonCases = []Case{
	{
		Name: "one event that always fails does not slow the others",
		Explanation: "A single event that no handler can take, among thousands with eight handlers: the others are settled " +
			"in about the time that they take without it.",
		needs: []need{durable, groups, handsOver},
		run:   poisonIsAlone,
	},
}

func poisonIsAlone(w *world) {
	n := sized(10_000, 1_000)
	clean := w.drain(n, false)
	poisoned := w.drain(n, true)
	// How long a short run takes beside others is the machine's: that the others are handled at all, drain has seen.
	if limit := clean + clean/10; inFull() && poisoned > limit {
		w.Errorf("%d events took %v beside one that always fails, and %v without it; at most %v are allowed", n,
			poisoned, clean, limit)
	}
	w.figure("one event that always fails among %d, 8 handlers: the last other one settled after %v, without it %v (%.2f x)",
		n, poisoned.Round(time.Millisecond), clean.Round(time.Millisecond), float64(poisoned)/float64(clean))
}

// drain publishes n messages to a group that exists, and returns how long its handlers then take for all of them. A
// handler takes a millisecond. With poison, one more message fails each time that it comes.
func (w *world) drain(n int, poison bool) time.Duration {
	w.Helper()
	publisher, ch := w.open(), w.h.Channel()
	s := brokers.Subscription{Channels: []string{ch}, Group: w.group(), Prefetch: countedPrefetch}
	_ = w.subscribe(w.open(), s).end()
	msgs := w.messages(n, ch) // each with a key of its own
	y := newTally(msgs)
	w.send(publisher, y, msgs[:n/10])
	bad := w.message(ch, "poison")
	if poison {
		w.publish(publisher, bad)
	}
	w.send(publisher, y, msgs[n/10:])

	healthy := make(chan struct{})
	c := w.crew(8, func(d brokers.Delivery) brokers.Settlement {
		if same(d.Message, bad) {
			if isClosed(healthy) {
				return brokers.Settlement{Token: d.Token, Verdict: brokers.Terminate}
			}
			return brokers.Settlement{Token: d.Token, Verdict: brokers.Redeliver, After: 100 * time.Millisecond}
		}
		t := time.NewTimer(time.Millisecond)
		defer t.Stop()
		select {
		case <-t.C:
		case <-w.ctx.Done():
		}
		y.take(d)
		return brokers.Settlement{Token: d.Token, Verdict: brokers.Ack}
	})
	conn := w.open()
	began := time.Now()
	sub := w.subscribe(conn, s, c.take)
	y.waitAll(w, "all events but the one that fails are handled")
	took := time.Since(began)
	close(healthy)
	_ = sub.end()
	_ = conn.Close(w.within(w.h.Patience))
	return took
}
