package brokertest

import (
	"errors"

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
