package brokertest

import (
	"time"

	"github.com/eventbus-go/eventbus/brokers"
)

// redelivers selects brokers that can deliver a message a second time.
var redelivers = need{
	text: "only where Groups, Durable or Delay is promised",
	met:  func(c brokers.Capabilities, _ Harness) bool { return c.Groups || c.Durable || c.Delay },
}

var redeliveryCases = []Case{
	{
		Name: "a delivery that is asked for again comes again, unchanged",
		Explanation: "A handler that failed for a reason that may pass gets the same event again: a broker that forgets it " +
			"loses the event, and one that changes it breaks its id.",
		needs: []need{redelivers},
		run:   redeliveryComes,
	},
	{
		Name:        "what is acked or terminated never comes again",
		Explanation: "Neither later nor at the next member: an acked event that comes back is handled twice.",
		needs:       []need{redelivers, groups},
		run:         settledIsSettled,
	},
	{
		Name: "what a member did not settle goes to the next one",
		Explanation: "A service that was killed in the middle of a handler has not handled its event. Nothing else of the " +
			"group may be lost with it either.",
		needs: []need{redelivers, groups},
		run:   unsettledGoesBack,
	},
	{
		Name: "a message that waits for its redelivery holds up no other",
		Explanation: "One poison event must not stop its subscription: others arrive while it waits, also with a " +
			"Prefetch of one.",
		needs: []need{redelivers, delay},
		run:   poisonHoldsUpNothing,
	},
}

func redeliveryComes(w *world) {
	conn, ch := w.open(), w.h.Channel()
	msgs := w.messages(20, ch)
	failed := make(map[string]bool)
	s := brokers.Subscription{Channels: []string{ch}, Group: w.group()}
	sub := w.subscribe(conn, s, on(func(batch []brokers.Delivery) {
		for i := range batch {
			verdict := brokers.Ack
			if id := identity(batch[i].Message); !failed[id] {
				failed[id] = true
				verdict = brokers.Redeliver
			}
			_ = settle(w.ctx, batch[i:i+1], verdict, time.Millisecond)
		}
	}))
	w.publish(conn, msgs...)
	got := sub.waitCount("each message comes twice", 2*len(msgs))
	count := make(map[string]int)
	for _, a := range got {
		count[identity(a.Message)]++
	}
	for _, m := range msgs {
		if n := count[identity(m)]; n != 2 {
			w.Errorf("%s came %d times, wants 2", show(m), n)
			return
		}
	}
	for _, a := range got {
		if w.h.Carries.ID && a.ID == "" || w.h.Carries.Key && a.Key == "" {
			w.Errorf("attempt %d came without its fields", a.Attempt)
			return
		}
	}
}

func settledIsSettled(w *world) {
	ch := w.h.Channel()
	publisher, first := w.open(), w.open()
	s := brokers.Subscription{Channels: []string{ch}, Group: w.group()}
	msgs := w.messages(20, ch)
	n := 0
	sub := w.subscribe(first, s, on(func(batch []brokers.Delivery) {
		for i := range batch {
			verdict := brokers.Ack
			if n++; n%2 == 0 {
				verdict = brokers.Terminate
			}
			_ = settle(w.ctx, batch[i:i+1], verdict, 0)
		}
	}))
	w.publish(publisher, msgs...)
	sub.waitFor("all messages arrive", msgs...)
	if err := first.Close(w.within(w.h.Patience)); err != nil {
		w.Errorf("Close after everything was settled: %v", err)
	}
	next := w.subscribe(w.open(), s)
	fence := w.message(ch, "fence")
	w.publish(publisher, fence)
	got := next.waitFor("a later message arrives", fence)
	w.none(got, msgs, "it was settled")
	w.exactly(sub.arrivals(), msgs)
}

func unsettledGoesBack(w *world) {
	ch := w.h.Channel()
	publisher, first := w.open(), w.open()
	s := brokers.Subscription{Channels: []string{ch}, Group: w.group(), Prefetch: 10}
	msgs := w.messages(40, ch)
	sub := w.subscribe(first, s, unsettled)
	w.publish(publisher, msgs...)
	sub.waitCount("messages arrive at the first member", 5)
	_ = first.Close(w.within(brief)) // may well report what was not settled
	next := w.subscribe(w.open(), s)
	next.waitFor("all messages arrive at the next member", msgs...)
}

func poisonHoldsUpNothing(w *world) {
	conn, ch := w.open(), w.h.Channel()
	msgs := w.messages(30, ch, "k")
	s := brokers.Subscription{Channels: []string{ch}, Group: w.group(), Prefetch: 1}
	sub := w.subscribe(conn, s, on(func(batch []brokers.Delivery) {
		for i := range batch {
			if same(batch[i].Message, msgs[0]) {
				_ = settle(w.ctx, batch[i:i+1], brokers.Redeliver, time.Hour)
				continue
			}
			_ = settle(w.ctx, batch[i:i+1], brokers.Ack, 0)
		}
	}))
	w.publish(conn, msgs...)
	w.exactly(sub.waitFor("the others arrive", msgs[1:]...), msgs)
}
