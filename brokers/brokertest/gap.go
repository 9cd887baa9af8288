package brokertest

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
)

var gapCases = []Case{
	{
		Name: "a sink that blocks misses nothing silently",
		Explanation: "Published = delivered + missed: a driver waits, stops fetching, or drops and reports a gap " +
			"with the count. What is lost without a word is found by nobody.",
		run: overflowIsReported,
	},
	{
		Name: "a lost connection is re-established, and what was missed meanwhile is a gap",
		Explanation: "An at-most-once broker forgets what it publishes while we are away. The subscription goes on " +
			"by itself, and says that it was away, whether or not anything is known to be lost.",
		needs: []need{without(durable), canCut},
		run:   func(w *world) { w.interrupted(w.h.Cut, nil) },
	},
	{
		Name: "a broker that dies and comes back is a gap, and no outcome is wrong",
		Explanation: "As for a lost connection; and a message that was published to a dead broker is marked, since " +
			"nobody will deliver it.",
		needs: []need{without(durable), canKill},
		run:   func(w *world) { w.interrupted(w.h.Kill, w.h.Restart) },
	},
	{
		Name:        "a durable subscription loses nothing to a lost connection",
		Explanation: "The broker still has what was not settled; the driver fetches it when it is back.",
		needs:       []need{durable, groups, canCut},
		run:         durableCut,
	},
}

func overflowIsReported(w *world) {
	conn, ch := w.open(), w.h.Channel()
	release := make(chan struct{})
	sub := w.subscribe(conn, brokers.Subscription{Channels: []string{ch}}, on(func(batch []brokers.Delivery) {
		<-release
		_ = settle(w.ctx, batch, brokers.Ack, 0)
	}))
	taken, notSent := w.flood(conn, ch)
	close(release)
	account(sub, append(taken, w.publishWhenPossible(conn, ch)))
	w.none(sub.arrivals(), notSent, "it was marked as not sent")
	w.noDuplicates(sub.arrivals())
}

// flood publishes the harness's backlog of 1 KiB bodies, and stops earlier where the broker takes no more.
func (w *world) flood(conn brokers.Conn, ch string) (taken, notSent []brokers.Message) {
	const size, giveUp = 250, 3
	refusals := 0
	for published := 0; published < w.h.Backlog && refusals < giveUp; published += size {
		batch := w.messages(size, ch)
		for i := range batch {
			batch[i].Body = fmt.Appendf(bodyOf(1024), "%d", published+i)
		}
		ctx, cancel := context.WithTimeout(w.ctx, 2*brief)
		err := conn.Publish(ctx, batch)
		cancel()
		refusals++
		for i, o := range w.outcomes(size, err) {
			switch o {
			case brokers.Confirmed:
				taken = append(taken, batch[i])
				refusals = 0
			case brokers.NotSent:
				notSent = append(notSent, batch[i])
			}
		}
	}
	return taken, notSent
}

// account waits until every message that was taken has been delivered or reported as missed.
func account(sub *subscriber, taken []brokers.Message) {
	sub.w.Helper()
	sub.w.poll([]*subscriber{sub}, func() (string, bool) {
		lost, gone := len(missing(sub.arrivals(), taken)), missed(sub.gapList())
		what := fmt.Sprintf("%d messages were taken, %d of them did not arrive, and gaps have missed %d",
			len(taken), lost, gone)
		return what, gone < 0 || gone >= int64(lost)
	})
}

func (w *world) noDuplicates(got []arrival) {
	w.Helper()
	seen := make(map[string]bool, len(got))
	for _, a := range got {
		if id := identity(a.Message); seen[id] {
			w.Errorf("a message arrived twice: %s", show(a.Message))
			return
		} else {
			seen[id] = true
		}
	}
}

// interrupted publishes before, during and after a fault that breaks the subscription's connection.
func (w *world) interrupted(fault, remedy func() error) {
	w.Helper()
	publisher, conn, ch := w.open(), w.open(), w.h.Channel()
	sub := w.subscribe(conn, brokers.Subscription{Channels: []string{ch}})
	before := w.messages(20, ch)
	w.publish(publisher, before...)
	sub.waitFor("what is published before the fault arrives", before...)
	w.fault("the fault", fault)
	if remedy != nil {
		w.undo = append(w.undo, func() { _ = remedy() })
	}
	taken := w.publishThrough(publisher, ch)
	if remedy != nil {
		w.fault("the remedy", remedy)
		w.undo = w.undo[:len(w.undo)-1]
	}
	taken = append(taken, w.resumed(sub, publisher, ch)...)
	sub.wait("the interval is reported as a gap", func() bool { return len(sub.gaps) > 0 })
	account(sub, taken)
	w.noDuplicates(sub.arrivals())
}

// publishThrough publishes while the broker is disturbed, and returns what it says that it took.
func (w *world) publishThrough(conn brokers.Conn, ch string) (taken []brokers.Message) {
	w.Helper()
	for range 5 {
		batch := w.messages(10, ch)
		ctx, cancel := context.WithTimeout(w.ctx, 2*brief)
		err := w.do("Publish returns on a disturbed broker", 2*brief+w.promptly(), func() error {
			return conn.Publish(ctx, batch)
		})
		cancel()
		for i, o := range w.outcomes(len(batch), err) {
			if o == brokers.Confirmed {
				taken = append(taken, batch[i])
			}
		}
	}
	return taken
}

// resumed publishes until something arrives again, and returns what was taken meanwhile.
func (w *world) resumed(sub *subscriber, publisher brokers.Conn, ch string) (taken []brokers.Message) {
	w.Helper()
	w.poll([]*subscriber{sub}, func() (string, bool) {
		probe := w.message(ch, "probe")
		ctx, cancel := context.WithTimeout(w.ctx, 4*brief)
		defer cancel()
		if publisher.Publish(ctx, []brokers.Message{probe}) == nil {
			taken = append(taken, probe)
		}
		return "delivery resumes after the fault", len(missing(sub.arrivals(), taken)) < len(taken)
	})
	return taken
}

// publishWhenPossible publishes one message after the other, where a queue is still full, until one is taken, which it returns. It
// is another one each time: one whose fate is unknown may have been taken, and would come twice.
func (w *world) publishWhenPossible(conn brokers.Conn, ch string) (m brokers.Message) {
	w.Helper()
	w.poll(nil, func() (string, bool) {
		ctx, cancel := context.WithTimeout(w.ctx, time.Second)
		defer cancel()
		m = w.message(ch, "fence")
		err := conn.Publish(ctx, []brokers.Message{m})
		return "a message is taken once the sink goes on: " + errorText(err), err == nil
	})
	return m
}

func durableCut(w *world) {
	publisher, ch := w.open(), w.h.Channel()
	// What is settled while the connection breaks may well be an error: it is delivered again then.
	sub := w.subscribe(w.open(), brokers.Subscription{Channels: []string{ch}, Group: w.group()},
		on(func(batch []brokers.Delivery) { _ = settle(w.ctx, batch, brokers.Ack, 0) }))
	var taken []brokers.Message
	for i := range 10 {
		if i == 5 {
			w.fault("Cut", w.h.Cut)
		}
		batch := w.messages(20, ch)
		ctx, cancel := context.WithTimeout(w.ctx, time.Second)
		for j, o := range w.outcomes(len(batch), publisher.Publish(ctx, batch)) {
			if o == brokers.Confirmed {
				taken = append(taken, batch[j])
			}
		}
		cancel()
	}
	sub.waitFor("what was confirmed arrives", taken...)
	if gaps := slices.DeleteFunc(sub.gapList(), func(g brokers.Gap) bool { return g.Missed <= 0 }); len(gaps) > 0 {
		w.Errorf("a durable subscription says that it missed %d", missed(gaps))
	}
}
