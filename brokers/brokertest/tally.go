package brokertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
)

// A tally counts what becomes of many messages, where keeping every delivery would be too much.
type tally struct {
	msgs []brokers.Message

	mu       sync.Mutex
	place    map[string]int // of a message in msgs
	times    []int          // how often each was delivered
	arrived  int            // how many were delivered at least once
	again    int            // deliveries beyond the first one of each
	log      []delivered    // every delivery, in order
	taken    int            // how many the broker has taken
	unknown  int            // how many were published again since their fate was unknown
	lastOf   map[string]int // place of the last message of each key that arrived for the first time
	disorder []string
	changed  []string // deliveries whose id is not the one that was published
}

func newTally(msgs []brokers.Message) *tally {
	y := &tally{msgs: msgs, place: make(map[string]int, len(msgs)), times: make([]int, len(msgs)), lastOf: make(map[string]int)}
	for i, m := range msgs {
		y.place[identity(m)] = i
	}
	return y
}

// A delivered says when the message of a place was delivered.
type delivered struct {
	at    time.Time
	place int
}

// between returns how many messages were delivered in that time. Each counts once, however often it came: a broker that
// delivers all again must not have a larger allowance for it.
func (y *tally) between(from, until time.Time) int {
	y.mu.Lock()
	defer y.mu.Unlock()
	seen := make(map[int]bool)
	for _, d := range y.log {
		if !d.at.Before(from) && !d.at.After(until) {
			seen[d.place] = true
		}
	}
	return len(seen)
}

// take counts a delivery.
func (y *tally) take(d brokers.Delivery) {
	y.mu.Lock()
	defer y.mu.Unlock()
	i, known := y.place[identity(d.Message)]
	if !known {
		return
	}
	y.log = append(y.log, delivered{time.Now(), i})
	m := y.msgs[i]
	if d.ID != "" && d.ID != m.ID {
		y.changed = append(y.changed, d.ID+" instead of "+m.ID)
	}
	if y.times[i]++; y.times[i] > 1 {
		y.again++
		return
	}
	y.arrived++
	if last, seen := y.lastOf[m.Key]; seen && last > i {
		y.disorder = append(y.disorder, fmt.Sprintf("of key %q, message %d came after message %d", m.Key, i, last))
	}
	y.lastOf[m.Key] = i
}

// acks is an option for a subscriber that counts every delivery and acks it.
func (y *tally) acks(w *world) func(*subscriber) {
	return func(s *subscriber) {
		s.forgets = true
		s.onDeliver = func(batch []brokers.Delivery) {
			for _, d := range batch {
				y.take(d)
			}
			ctx, cancel := context.WithTimeout(w.ctx, w.h.Patience)
			defer cancel()
			_ = settle(ctx, batch, brokers.Ack, 0) // what a dead broker did not take comes again
		}
	}
}

func (y *tally) count() (taken, arrived int) {
	y.mu.Lock()
	defer y.mu.Unlock()
	return y.taken, y.arrived
}

// waitAll waits until every message has arrived, as long as any arrives within the harness's patience.
func (y *tally) waitAll(w *world, what string) {
	w.Helper()
	patience, before := newCountdown(w.h.Patience), -1
	defer func() { patience.stop() }()
	for {
		_, arrived := y.count()
		if arrived == len(y.msgs) {
			return
		}
		if arrived > before {
			before = arrived
			patience.stop()
			patience = newCountdown(w.h.Patience)
		}
		if <-patience.ticker.C; patience.over() {
			w.Fatalf("%s: %d of %d are missing, and none came for %v", what, len(y.msgs)-arrived, len(y.msgs), w.h.Patience)
		}
	}
}

// judge fails where ids changed, more than most were delivered again, or a promised order was not kept.
func (y *tally) judge(w *world, most int) {
	w.Helper()
	y.mu.Lock()
	defer y.mu.Unlock()
	if len(y.changed) > 0 {
		w.Errorf("%d deliveries have another id, such as %s", len(y.changed), y.changed[0])
	}
	if y.again > most {
		w.Errorf("%d deliveries came again, at most %d may", y.again, most)
	}
	if w.caps.Order >= brokers.OrderKey && len(y.disorder) > 0 {
		w.Errorf("order per key is promised: %d times it was not kept: %s", len(y.disorder), y.disorder[0])
	}
}

// twice says how many came again.
func (y *tally) twice() string {
	y.mu.Lock()
	defer y.mu.Unlock()
	return fmt.Sprintf("%d delivered again", y.again)
}

// resend publishes msgs in batches until the broker has taken them all, as the bus does on a durable broker: what was not
// sent, and what nobody knows of, is sent again with the same id. each, if not nil, is called after each batch with the
// number of messages that were taken.
func resend(ctx context.Context, conn brokers.Conn, y *tally, msgs []brokers.Message, each func(taken int)) error {
	taken := 0
	for batch := range slices.Chunk(msgs, sized(500, 100)) {
		for rest := batch; len(rest) > 0; {
			var err error
			if rest, err = y.publishOnce(ctx, conn, rest); err != nil {
				return err
			}
		}
		taken += len(batch)
		y.mu.Lock()
		y.taken += len(batch)
		y.mu.Unlock()
		if each != nil {
			each(taken)
		}
	}
	return nil
}

// publishOnce returns what has to be sent again, in memory of its own: the client may still be reading the old one.
func (y *tally) publishOnce(ctx context.Context, conn brokers.Conn, msgs []brokers.Message) ([]brokers.Message, error) {
	call, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	err := conn.Publish(call, msgs)
	var be *brokers.BatchError
	if err == nil || !errors.As(err, &be) {
		return nil, err
	}
	var rest []brokers.Message
	for _, f := range be.Failed {
		switch f.Outcome {
		case brokers.Rejected:
			return nil, f.Err
		case brokers.Unknown:
			y.mu.Lock()
			y.unknown++
			y.mu.Unlock()
		}
		rest = append(rest, msgs[f.Index])
	}
	t := time.NewTimer(2 * grain)
	defer t.Stop()
	select {
	case <-t.C:
		return rest, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// send is resend on the case's goroutine.
func (w *world) send(conn brokers.Conn, y *tally, msgs []brokers.Message) {
	w.Helper()
	if err := resend(w.ctx, conn, y, msgs, nil); err != nil {
		w.Fatalf("Publish: %v", err)
	}
}

// rest lets d pass, or the case's end come.
func (w *world) rest(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-w.ctx.Done():
	}
}
