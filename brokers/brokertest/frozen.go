package brokertest

import (
	"context"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
)

var frozenCases = []Case{
	{
		Name: "Publish returns with its context although the broker is frozen",
		Explanation: "The rule above all: a frozen broker never slows the operation that publishes. Several " +
			"clients hold a call for seconds, whatever its context says.",
		needs: []need{canFreeze},
		run:   frozenPublish,
	},
	{
		Name:        "Close returns by its deadline although the broker is frozen",
		Explanation: "A service that is told to stop stops, or is killed by its supervisor with work in its hands.",
		needs:       []need{canFreeze},
		run:         frozenClose,
	},
	{
		Name:        "delivery goes on after the broker has thawed, and nothing is missed silently",
		Explanation: "A frozen broker is back within seconds; nobody restarts a service for that.",
		needs:       []need{canFreeze},
		run:         thawed,
	},
	{
		Name: "nothing that was confirmed is lost to a broker that is frozen for long",
		Explanation: "A disk that hangs for ten seconds is an everyday outage: what was confirmed before, meanwhile and after " +
			"is stored, and what was not is sent again by the bus with the same id.",
		needs: []need{durable, groups, canFreeze},
		run:   frozenForLong,
	},
}

func frozenForLong(w *world) {
	publisher, ch := w.open(), w.h.Channel()
	msgs := w.messages(sized(20_000, 1_000), ch, "a", "b", "c", "d", "e")
	y := newTally(msgs)
	s := brokers.Subscription{Channels: []string{ch}, Group: w.group()}
	w.subscribe(w.open(), s, y.acks(w))
	third := len(msgs) / 3
	w.send(publisher, y, msgs[:third])
	w.freeze()
	began, sent := time.Now(), make(chan error, 1)
	go func() { sent <- resend(w.ctx, publisher, y, msgs[third:], nil) }()
	w.rest(time.Duration(sized(10, 1)) * time.Second)
	w.fault("Thaw", w.h.Thaw)
	thawed := time.Now()
	if err := <-sent; err != nil {
		w.Fatalf("Publish after the thaw: %v", err)
	}
	y.waitAll(w, "everything arrives after the thaw")
	y.judge(w, len(msgs))
	w.figure("frozen for %v: %d messages, 0 lost, %s, all handled %v after the thaw", thawed.Sub(began).Round(time.Second),
		len(msgs), y.twice(), time.Since(thawed).Round(time.Millisecond))
}

func (w *world) freeze() {
	w.Helper()
	w.fault("Freeze", w.h.Freeze)
	w.undo = append(w.undo, func() { _ = w.h.Thaw() })
}

func frozenPublish(w *world) {
	conn, ch := w.open(), w.h.Channel()
	w.publish(conn, w.message(ch, "warm-up"))
	w.freeze()
	const limit = 200 * time.Millisecond
	for range 3 {
		batch := w.messages(10, ch)
		ctx, cancel := context.WithTimeout(w.ctx, limit)
		err := w.do("Publish returns with its context", limit+w.promptly(), func() error { return conn.Publish(ctx, batch) })
		cancel()
		for i, o := range w.outcomes(len(batch), err) {
			if o != brokers.NotSent && o != brokers.Unknown {
				w.Errorf("message %d is %v although the broker is frozen", i, o)
			}
		}
	}
}

func frozenClose(w *world) {
	conn, ch := w.open(), w.h.Channel()
	sub := w.subscribe(conn, brokers.Subscription{Channels: []string{ch}}, unsettled)
	m := w.message(ch, "k")
	w.publish(conn, m)
	sub.waitFor("a message arrives before the freeze", m)
	w.freeze()
	const limit = 300 * time.Millisecond
	ctx, cancel := context.WithTimeout(w.ctx, limit)
	defer cancel()
	_ = w.do("Close returns by its deadline", limit+w.promptly(), func() error { return conn.Close(ctx) })
	w.await("Subscribe returns after Close", w.h.Patience, sub.done)
}

func thawed(w *world) {
	publisher, ch := w.open(), w.h.Channel()
	// On a busy machine the freeze may be long enough for the connection to be given up: what is settled then is an error.
	sub := w.subscribe(w.open(), brokers.Subscription{Channels: []string{ch}, Group: w.group()},
		on(func(batch []brokers.Delivery) { _ = settle(w.ctx, batch, brokers.Ack, 0) }))
	before := w.messages(20, ch)
	w.publish(publisher, before...)
	sub.waitFor("what is published before the freeze arrives", before...)
	w.freeze()
	taken := w.publishThrough(publisher, ch)
	w.fault("Thaw", w.h.Thaw)
	taken = append(taken, w.resumed(sub, publisher, ch)...)
	account(sub, taken)
}
