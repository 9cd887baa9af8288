package brokertest

import (
	"context"

	"github.com/eventbus-go/eventbus/brokers"
)

var subscribeCases = []Case{
	{
		Name: "what is published once Ready was called arrives",
		Explanation: "A service that waits for Ready and then publishes must see its event. Several clients return from " +
			"subscribing before the server has confirmed it.",
		run: readyMeansReady,
	},
	{
		Name: "a subscription gets the messages of its channels and no others",
		Explanation: "A subscriber of user events that also got security events would act on what it was not meant to see. " +
			"Names that only begin alike are other channels.",
		run: onlyItsChannels,
	},
	{
		Name:        "each subscription without a group gets every message",
		Explanation: "The audit must not go without an event because analytics had it, on one connection or on another.",
		run:         everySubscriptionGetsAll,
	},
	{
		Name: "a sink that blocks does not slow another subscription",
		Explanation: "A stuck e-mail subscriber must not hold up the security alerts. (Up to the bounds of the " +
			"driver's queues; 200 messages are within those of any.)",
		run: slowSinkAlone,
	},
	{
		Name: "the sink's batch may be overwritten, its contents not",
		Explanation: "A sink keeps what it was given, such as bodies, while the driver goes on. A driver that " +
			"reuses a body's memory changes events that are being handled.",
		run: contentsStay,
	},
	{
		Name: "Subscribe returns nil after its context ended",
		Explanation: "The end of a subscription is the caller's wish and no error, whether it is idle or busy, or " +
			"has never begun.",
		run: subscribeEnds,
	},
	{
		Name: "Subscribe waits for the deliveries that are not settled",
		Explanation: "Shutdown stops fetching first and lets handlers finish: their acks must still have somewhere " +
			"to go when the subscription's context has ended.",
		run: subscribeWaitsForSettling,
	},
	{
		Name: "no more than Prefetch deliveries are unsettled",
		Explanation: "Prefetch bounds what a consumer holds, and what others have to wait for if it dies. It does " +
			"not apply where the broker wants no settling.",
		needs: []need{handsOver},
		run:   prefetchIsKept,
	},
	{
		Name:        "a subscription without channels, or with one that is no pattern, is refused",
		Explanation: "A typing error in a channel's name is to be told at start-up, not to be an idle subscriber for ever.",
		run:         badSubscriptions,
	},
}

func readyMeansReady(w *world) {
	publisher := w.open()
	for range 15 {
		conn, ch := w.open(), w.h.Channel()
		m := w.message(ch, "k")
		sub := w.subscribe(conn, brokers.Subscription{Channels: []string{ch}})
		w.publish(publisher, m)
		sub.waitFor("the message that was published after Ready arrives", m)
		_ = sub.end()
	}
}

func onlyItsChannels(w *world) {
	conn, chs := w.open(), w.channels(3)
	mine := []string{chs[0], chs[1]}
	sub := w.subscribe(conn, brokers.Subscription{Channels: mine})
	var others, batch, want []brokers.Message
	for _, ch := range []string{chs[2], chs[0] + ".a", chs[0] + "x", chs[0][:len(chs[0])-1]} {
		others = append(others, w.message(ch, "k"))
	}
	for _, ch := range mine {
		want = append(want, w.message(ch, "k"))
	}
	batch = append(append(batch, others...), want...)
	w.publish(conn, batch...)
	got := sub.waitFor("the messages of its channels arrive", want...)
	w.none(got, others, "it is on another channel")
	w.exactly(got, want)
}

func everySubscriptionGetsAll(w *world) {
	conn, ch := w.open(), w.h.Channel()
	subs := []*subscriber{
		w.subscribe(conn, brokers.Subscription{Channels: []string{ch}}),
		w.subscribe(conn, brokers.Subscription{Channels: []string{ch}}),
		w.subscribe(w.open(), brokers.Subscription{Channels: []string{ch}}),
	}
	msgs := w.messages(100, ch)
	w.publish(conn, msgs...)
	for _, sub := range subs {
		w.exactly(sub.waitFor("all messages arrive at each subscription", msgs...), msgs)
	}
}

func slowSinkAlone(w *world) {
	conn, ch := w.open(), w.h.Channel()
	release := make(chan struct{})
	w.undo = append(w.undo, func() { close(release) })
	slow := w.subscribe(conn, brokers.Subscription{Channels: []string{ch}}, on(func(batch []brokers.Delivery) {
		<-release
		_ = settle(context.WithoutCancel(w.ctx), batch, brokers.Ack, 0)
	}))
	quick := w.subscribe(conn, brokers.Subscription{Channels: []string{ch}})
	msgs := w.messages(200, ch)
	w.publish(conn, msgs[0])
	slow.waitCount("the sink that blocks has a message", 1)
	for _, m := range msgs[1:] {
		w.publish(conn, m)
	}
	w.exactly(quick.waitFor("all messages arrive although another sink is blocked", msgs...), msgs)
}

func contentsStay(w *world) {
	conn, ch := w.open(), w.h.Channel()
	s := brokers.Subscription{Channels: []string{ch}, Prefetch: 10}
	sub := w.subscribe(conn, s, on(func(batch []brokers.Delivery) {
		_ = settle(w.ctx, batch, brokers.Ack, 0)
		clear(batch)
	}))
	msgs := w.messages(500, ch)
	for i := range msgs {
		w.publish(conn, msgs[i])
	}
	w.exactly(sub.waitCount("all messages arrive", len(msgs)), msgs)
}

func subscribeEnds(w *world) {
	conn, ch := w.open(), w.h.Channel()
	idle := w.subscribe(conn, brokers.Subscription{Channels: []string{ch}})
	if err := idle.end(); err != nil {
		w.Errorf("Subscribe of an idle subscription returned %v after its context ended", err)
	}
	busy := w.subscribe(conn, brokers.Subscription{Channels: []string{ch}})
	msgs := w.messages(100, ch)
	w.publish(conn, msgs...)
	busy.waitFor("all messages arrive", msgs...)
	if err := busy.end(); err != nil {
		w.Errorf("Subscribe of a busy subscription returned %v after its context ended", err)
	}
	ended, cancel := context.WithCancel(w.ctx)
	cancel()
	late := &subscriber{w: w, ready: make(chan struct{}), changed: make(chan struct{})}
	if err := w.do("Subscribe with an ended context returns", w.h.Patience, func() error {
		return conn.Subscribe(ended, brokers.Subscription{Name: "late", Channels: []string{ch}}, late)
	}); err != nil {
		w.Errorf("Subscribe with an ended context returned %v", err)
	}
}

func subscribeWaitsForSettling(w *world) {
	conn, ch := w.open(), w.h.Channel()
	sub := w.subscribe(conn, brokers.Subscription{Channels: []string{ch}}, unsettled)
	msgs := w.messages(3, ch)
	w.publish(conn, msgs...)
	got := sub.waitFor("all messages arrive", msgs...)
	sub.stop()
	if got[0].Settler != nil {
		if w.happens(sub.done) {
			w.Fatalf("Subscribe returned %v while %d deliveries were not settled", sub.err, len(got))
		}
		for _, a := range got {
			if err := settle(w.ctx, []brokers.Delivery{a.Delivery}, brokers.Ack, 0); err != nil {
				w.Errorf("Settle after the subscription's context ended: %v", err)
			}
		}
	}
	if err := sub.end(); err != nil {
		w.Errorf("Subscribe returned %v", err)
	}
}

func prefetchIsKept(w *world) {
	conn, ch := w.open(), w.h.Channel()
	const prefetch = 10
	sub := w.subscribe(conn, brokers.Subscription{Channels: []string{ch}, Prefetch: prefetch}, unsettled)
	msgs := w.messages(5*prefetch, ch)
	w.publish(conn, msgs...)
	got := sub.waitCount("messages arrive", prefetch)
	if got[0].Settler == nil {
		return // nothing is ever unsettled
	}
	for settled := 0; settled < len(msgs); settled += prefetch {
		w.watch(func() bool { return len(sub.arrivals()) > settled+prefetch })
		got = sub.waitCount("more messages arrive once earlier ones are settled", min(settled+prefetch, len(msgs)))
		if open := len(got) - settled; open > prefetch {
			w.Fatalf("%d deliveries are unsettled, with Prefetch %d", open, prefetch)
		}
		for _, a := range got[settled:] {
			if err := settle(w.ctx, []brokers.Delivery{a.Delivery}, brokers.Ack, 0); err != nil {
				w.Fatalf("Settle: %v", err)
			}
		}
	}
	w.exactly(sub.arrivals(), msgs)
}

func badSubscriptions(w *world) {
	conn, ch := w.open(), w.h.Channel()
	for _, channels := range [][]string{nil, {""}, {ch + "."}, {ch, "No Channel"}, {ch + ".[ab]"}, {ch + "?"}} {
		sub := w.start(conn, brokers.Subscription{Channels: channels})
		w.await("Subscribe refuses the channels", w.h.Patience, sub.done)
		if sub.err == nil {
			w.Errorf("Subscribe to %q returned nil", channels)
		}
	}
}
