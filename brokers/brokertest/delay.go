package brokertest

import (
	"time"

	"github.com/eventbus-go/eventbus/brokers"
)

var delayCases = []Case{
	{
		Name: "a redelivery waits at least as long as it was asked to",
		Explanation: "A redelivery at once turns a dependency that is down for a second into thousands of failed attempts. " +
			"That it comes late is the machine's business; that it comes early is the driver's.",
		needs: []need{delay},
		run:   redeliveryWaits,
	},
	{
		Name:        "a message with NotBefore is not delivered earlier",
		Explanation: "A reminder for tomorrow that comes today is wrong. Messages without a time pass it.",
		needs:       []need{delay},
		run:         notBefore,
	},
}

// clockGrain is how much earlier than asked something may seem to come: brokers count in milliseconds.
const clockGrain = 5 * time.Millisecond

func redeliveryWaits(w *world) {
	conn, ch := w.open(), w.h.Channel()
	waits := map[string]time.Duration{}
	settledAt := map[string]time.Time{}
	msgs := w.messages(3, ch)
	for i, m := range msgs {
		waits[identity(m)] = time.Duration(3-i) * w.h.delay // the first one waits longest
	}
	var early []string
	s := brokers.Subscription{Channels: []string{ch}, Group: w.group()}
	sub := w.subscribe(conn, s, on(func(batch []brokers.Delivery) {
		now := time.Now()
		for i := range batch {
			id := identity(batch[i].Message)
			at, again := settledAt[id]
			if !again {
				settledAt[id] = time.Now()
				_ = settle(w.ctx, batch[i:i+1], brokers.Redeliver, waits[id])
				continue
			}
			if waited := now.Sub(at); waited < waits[id]-clockGrain {
				early = append(early, waited.String()+" instead of "+waits[id].String())
			}
			_ = settle(w.ctx, batch[i:i+1], brokers.Ack, 0)
		}
	}))
	w.publish(conn, msgs...)
	sub.waitCount("each message comes twice", 2*len(msgs))
	_ = sub.end() // so that early is ours
	for _, text := range early {
		w.Errorf("a redelivery waited %s", text)
	}
}

func notBefore(w *world) {
	conn, ch := w.open(), w.h.Channel()
	sub := w.subscribe(conn, brokers.Subscription{Channels: []string{ch}, Group: w.group()})
	far, later, now := w.message(ch, "far"), w.message(ch, "later"), w.message(ch, "now")
	far.NotBefore, later.NotBefore = time.Now().Add(time.Hour), time.Now().Add(150*time.Millisecond)
	w.publish(conn, far, later, now)
	got := sub.waitFor("the message without NotBefore passes the one that waits for an hour", later, now)
	w.none(got, []brokers.Message{far}, "its NotBefore is an hour away")
	for _, a := range got {
		if same(a.Message, later) && a.at.Before(later.NotBefore.Add(-clockGrain)) {
			w.Errorf("it arrived %v before NotBefore", later.NotBefore.Sub(a.at))
		}
	}
}
