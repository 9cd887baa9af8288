package brokertest

import (
	"context"
	"fmt"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
)

var killedCases = []Case{
	{
		Name: "a broker that is killed twice under load loses nothing that it took",
		Explanation: "With its persistence on, what was accepted is delivered after the restart; what was in flight may come " +
			"twice, with the same id; the order of a key is kept where it is promised; and the subscription goes on by itself.",
		needs: []need{durable, groups, canKill},
		run:   killedTwice,
	},
}

// A prefetch bounds what a consumer has in flight where a case counts it.
const countedPrefetch = 256

func killedTwice(w *world) {
	publisher, ch := w.open(), w.h.Channel()
	msgs := w.messages(sized(100_000, 3_000), ch, "a", "b", "c", "d", "e", "f", "g")
	y := newTally(msgs)
	s := brokers.Subscription{Channels: []string{ch}, Group: w.group(), Prefetch: countedPrefetch}
	sub := w.subscribe(w.open(), s, y.acks(w))
	var slowest time.Duration
	inFlight := 0
	kills := []kill{newKill(), newKill()}
	sent := make(chan error, 1)
	go func() { sent <- publishAround(w.ctx, publisher, y, kills) }()
	for _, k := range kills {
		w.await("a third of the messages is taken", 4*w.h.Patience, k.due)
		took, had := w.killAndResume(sub, y, k)
		slowest, inFlight = max(slowest, took), inFlight+had
	}
	var err error
	w.await("all messages are taken", 8*w.h.Patience, closedWhen(func() { err = <-sent }))
	if err != nil {
		w.Fatalf("Publish: %v", err)
	}
	y.waitAll(w, "what was accepted arrives")
	w.rest(time.Second) // for what comes again
	inFlight += y.unknown
	y.judge(w, inFlight)
	if limit := 5 * time.Second; inFull() && slowest > limit {
		w.Errorf("delivery resumed after %v, at most %v are allowed", slowest, limit)
	}
	w.figure("killed at 1/3 and 2/3 of %d messages: 0 lost, %s (at most %d were in flight, %d published without a reply), "+
		"delivery resumed after %v", len(msgs), y.twice(), inFlight, y.unknown, slowest.Round(time.Millisecond))
}

// A kill is due once enough is published, and done when the broker is dead. Publishing goes on meanwhile.
type kill struct{ due, done chan struct{} }

func newKill() kill { return kill{make(chan struct{}), make(chan struct{})} }

// publishAround publishes all messages of y. A kill is due at the end of each part but the last one; half a part later it
// has to be done, so that enough is published after it.
func publishAround(ctx context.Context, conn brokers.Conn, y *tally, kills []kill) error {
	due, done := 0, 0
	half := len(y.msgs) / (2 * (len(kills) + 1))
	return resend(ctx, conn, y, y.msgs, func(taken int) {
		if due < len(kills) && taken >= (2*due+2)*half {
			close(kills[due].due)
			due++
		}
		if done < len(kills) && taken >= (2*done+3)*half {
			select {
			case <-kills[done].done:
			case <-ctx.Done():
			}
			done++
		}
	})
}

// killAndResume kills the broker and restarts it. It returns how long after that the subscription got something new, and how
// much was in flight to it when the broker died: what it had and what it was settling, also out of a buffer while the broker
// was dead, and what it had settled so shortly before that the broker may not have written it down. All of it is counted in
// messages, so that the allowance does not grow with the time that a busy machine takes.
func (w *world) killAndResume(sub *subscriber, y *tally, k kill) (took time.Duration, inFlight int) {
	w.Helper()
	unwritten := time.Now().Add(-w.h.AcksInMemory)
	w.fault("Kill", w.h.Kill)
	died := time.Now()
	close(k.done)
	w.undo = append(w.undo, func() { _ = w.h.Restart() })
	inFlight = 2*countedPrefetch + w.h.AcksKept + y.between(unwritten, died)
	w.fault("Restart", w.h.Restart)
	w.undo = w.undo[:len(w.undo)-1]
	restarted := time.Now()
	_, before := y.count()
	w.poll([]*subscriber{sub}, func() (string, bool) {
		taken, arrived := y.count()
		return fmt.Sprintf("delivery resumes after the restart (of %d messages, %d were taken and %d have arrived)",
			len(y.msgs), taken, arrived), arrived > before || arrived == len(y.msgs)
	})
	return time.Since(restarted), inFlight
}

// closedWhen returns a channel that is closed when f has returned.
func closedWhen(f func()) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	return done
}
