package brokertest

import (
	"time"

	"github.com/eventbus-go/eventbus/brokers"
)

var attemptCases = []Case{
	{
		Name: "the attempt counts from 1 and grows by 1 with each redelivery",
		Explanation: "The number of attempts decides when an event is given up on: one that stays behind retries " +
			"for ever, one that runs ahead gives up too early.",
		needs: []need{attempts},
		run:   attemptsGrow,
	},
	{
		Name:        "the attempt survives the consumer",
		Explanation: "An event that kills its handler's process each time must be given up on some day.",
		needs:       []need{attempts, groups},
		run:         attemptsSurvive,
	},
}

func attemptsGrow(w *world) {
	conn, ch := w.open(), w.h.Channel()
	const rounds = 4
	s := brokers.Subscription{Channels: []string{ch}, Group: w.group()}
	sub := w.subscribe(conn, s, on(func(batch []brokers.Delivery) {
		for i := range batch {
			verdict := brokers.Redeliver
			if batch[i].Attempt >= rounds {
				verdict = brokers.Ack
			}
			_ = settle(w.ctx, batch[i:i+1], verdict, time.Millisecond)
		}
	}))
	m := w.message(ch, "k")
	w.publish(conn, m)
	for i, a := range sub.waitCount("all attempts come", rounds) {
		if a.Attempt != i+1 {
			w.Errorf("delivery %d says that it is attempt %d", i+1, a.Attempt)
		}
	}
}

func attemptsSurvive(w *world) {
	ch := w.h.Channel()
	publisher := w.open()
	s := brokers.Subscription{Channels: []string{ch}, Group: w.group()}
	m := w.message(ch, "k")
	for attempt := 1; attempt <= 3; attempt++ {
		conn := w.open()
		sub := w.subscribe(conn, s, unsettled)
		if attempt == 1 {
			w.publish(publisher, m)
		}
		if got := sub.waitFor("the message arrives at each consumer", m)[0]; got.Attempt != attempt {
			w.Errorf("consumer %d got attempt %d", attempt, got.Attempt)
		}
		_ = conn.Close(w.within(brief))
	}
}
