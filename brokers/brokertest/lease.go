package brokertest

import (
	"bytes"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
)

var leaseCases = []Case{
	{
		Name: "a handler that takes many leases runs once",
		Explanation: "A lease tells the dead from the slow: the driver prolongs that of each delivery that is not settled, or " +
			"a report that takes ten minutes is made by every instance at once.",
		needs: []need{durable, groups, hasLease},
		waits: true,
		run:   slowHandlerRunsOnce,
	},
	{
		Name: "what a consumer had that was killed is delivered again within its lease, and nothing is lost",
		Explanation: "A process that dies between handling and ack, again and again, holds its events up for a lease at " +
			"most, and never takes one with it.",
		needs: []need{durable, groups, hasLease, hasOthers},
		waits: true,
		run:   consumersAreKilled,
	},
}

func slowHandlerRunsOnce(w *world) {
	publisher, ch := w.open(), w.h.Channel()
	s := brokers.Subscription{Channels: []string{ch}, Group: w.group()}
	members := []*subscriber{w.subscribe(w.open(), s, unsettled), w.subscribe(w.open(), s, unsettled)}
	m := w.message(ch, "k")
	w.publish(publisher, m)
	got := together(members, "the message arrives", []brokers.Message{m})
	leases := sized(10, 2)
	w.rest(time.Duration(leases) * w.h.Lease)
	if n := len(together(members, "the message arrives", []brokers.Message{m})); n > 1 {
		w.Errorf("the message was delivered %d times while its handler took %d leases", n, leases)
	}
	if err := settle(w.ctx, []brokers.Delivery{got[0].Delivery}, brokers.Ack, 0); err != nil {
		w.Errorf("Settle after %d leases: %v", leases, err)
	}
	fence := w.message(ch, "k")
	w.publish(publisher, fence)
	want := []brokers.Message{m, fence}
	w.exactly(together(members, "a later message arrives", want), want)
	w.figure("a handler that took %d leases of %v ran once", leases, w.h.Lease)
}

func consumersAreKilled(w *world) {
	publisher, ch := w.open(), w.h.Channel()
	s := brokers.Subscription{Name: "killed", Channels: []string{ch}, Group: w.group(), Prefetch: 10}
	_ = w.subscribe(w.open(), s).end()
	rounds, limit := sized(50, 2), w.h.Lease+2*time.Second
	var held []brokers.Message // what the last consumer had handled, and not acked, when it was killed
	var killed time.Time
	var slowest time.Duration
	for range rounds {
		next := w.message(ch, "k")
		handled := make(chan []byte, 100)
		kill, err := w.h.Consume(w.ctx, s, func(body []byte) bool {
			handled <- body
			return !bytes.Equal(body, next.Body)
		})
		if err != nil {
			w.Fatalf("Consume: %v", err)
		}
		w.undo = append(w.undo, func() { _ = kill() })
		w.publish(publisher, next)
		for _, m := range append(held, next) {
			w.awaitBody(handled, m)
			if !same(m, next) {
				slowest = max(slowest, time.Since(killed))
			}
		}
		w.fault("kill a consumer", kill)
		killed, held = time.Now(), []brokers.Message{next}
	}
	w.subscribe(w.open(), s).waitFor("what the last consumer had is delivered again", held...)
	slowest = max(slowest, time.Since(killed))
	if inFull() && slowest > limit {
		w.Errorf("a delivery of a killed consumer came again after %v, at most %v are allowed", slowest, limit)
	}
	w.figure("consumer killed between handling and ack %d times: 0 lost, delivered again after at most %v (lease %v)", rounds,
		slowest.Round(time.Millisecond), w.h.Lease)
}

// awaitBody waits until m was handled. Others may have been handled before it, and are put back.
func (w *world) awaitBody(handled chan []byte, m brokers.Message) {
	w.Helper()
	var others [][]byte
	deadline := newCountdown(w.h.Lease + w.h.Patience)
	defer deadline.stop()
	for {
		select {
		case body := <-handled:
			if bytes.Equal(body, m.Body) {
				for _, b := range others {
					handled <- b
				}
				return
			}
			others = append(others, body)
		case <-deadline.ticker.C:
			if deadline.over() {
				w.Fatalf("the consumer was not sent %s within %v", show(m), w.h.Lease+w.h.Patience)
			}
		}
	}
}
