package faults

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/internal/testbroker"
)

// emitTimed emits numbered events first..last at a steady rate from one caller, and returns how long each call took.
func emitTimed(t *testing.T, b *bus.Bus, m *emitter, first, last, rate int) []time.Duration {
	t.Helper()
	took := make([]time.Duration, 0, last-first)
	began := time.Now()
	for i := first; i < last; i++ {
		due := began.Add(time.Duration(float64(i-first) / float64(rate) * float64(time.Second)))
		if ahead := time.Until(due); ahead > time.Millisecond {
			time.Sleep(ahead)
		}
		e := numbered(i)
		m.started.Add(1)
		at := time.Now()
		err := b.Emit(t.Context(), e)
		took = append(took, time.Since(at))
		m.returned.Add(1)
		if err != nil {
			m.failed.Add(1)
			m.failure.Store(err)
		}
	}
	return took
}

// The lanes are smaller than the default, so that they are full after some seconds: dropping must be as fast as
// queueing.
func TestAFrozenRedisNeitherSlowsEmitNorFillsTheMemory(t *testing.T) {
	const rate, laneEvents = 5_000, 1 << 13
	frozenFor := time.Duration(full(10, 4)) * time.Second
	healthy, frozen := 1*rate, int(frozenFor.Seconds())*rate
	thawAt, events := healthy+frozen, healthy+frozen+32*rate

	redis := testbroker.RealRedis(t)
	books := newWitness(t, redis.URL(), events)
	var cfg bus.Config
	cfg.Publish.MaxEvents = laneEvents
	w := newWorld(t, books, cfg, bus.Hooks{})
	y := newTally("all", events, "user_service.events.all")
	w.count(y)
	ready := w.run()

	m := &emitter{}
	a := audit(w.Bus, m, books)
	calm := emitTimed(t, w.Bus, m, 0, healthy, rate)
	heap := watchHeap()
	if err := redis.Freeze(); err != nil {
		t.Fatal(err)
	}
	took := emitTimed(t, w.Bus, m, healthy, thawAt, rate)
	most, _ := heap.grown()
	if err := redis.Thaw(); err != nil {
		t.Fatal(err)
	}
	thawed := time.Now()
	next := thawAt
	for next < events-rate && !y.handledAfter(thawed) {
		emitTimed(t, w.Bus, m, next, next+rate/10, rate)
		next += rate / 10
	}
	resumed := y.resumes(t, thawed, within(5*time.Second))
	emitTimed(t, w.Bus, m, next, next+rate, rate)
	next += rate
	m.noErrors(t)
	w.quiet()
	samples := a.finish(t)
	left := heapAtRest() - heap.before
	books.agrees(t, w.Stats().Published, next)
	w.hooksTold()
	l := y.everythingAccounted(t, books, ready, patience)
	y.nothingTwice(t)
	w.shut()

	p50, p99, longest := percentile(took, 50), percentile(took, 99), percentile(took, 100)
	// Beside others, a caller that lost its processor in the middle of Emit is no news, and so the usual call decides: what
	// waits for the server makes most of them slow, since the lanes are full for most of the time.
	if longest >= within(time.Second) || inFull && p99 >= time.Millisecond || percentile(took, 75) >= time.Millisecond {
		t.Errorf("Emit took %v at p75, %v at p99 and %v at most while the server was frozen: at most 1ms and 1s are "+
			"allowed", percentile(took, 75), p99, longest)
	}
	// Two lanes of 8,192 events of half a kilobyte, with as much again for the garbage collector.
	if most > 64<<20 || left > 32<<20 {
		t.Errorf("the heap grew by %s, and by %s for good", mib(most), mib(left))
	}
	st := w.Stats().Published
	if st.Dropped[bus.DropLaneFull] == 0 && frozen > 2*laneEvents {
		t.Errorf("the fault was not felt: %+v", st)
	}
	figure(t, "redis-server frozen", "%v at %d events/s: Emit p50 %v, p99 %v, max %v (before: p99 %v); heap +%s at "+
		"most, +%s after; "+
		"delivery resumed after %v; %d messages = %d confirmed + %v dropped, balanced at %d samples; %d events fell "+
		"into %d gaps, "+
		"%d lost silently", frozenFor, rate, ms(p50), ms(p99), ms(longest), ms(percentile(calm, 99)), mib(most), mib(left),
		ms(resumed),
		st.Accepted, st.Confirmed, st.Dropped, samples, l.inGaps, len(y.gapList()), l.silent)
}

func TestCloseReturnsWithinItsDeadlineWhileRedisIsFrozen(t *testing.T) {
	const rate, events, deadline = 5_000, 5_000, 2 * time.Second
	redis := testbroker.RealRedis(t)
	books := newWitness(t, redis.URL(), events)
	w := newWorld(t, books, bus.Config{}, bus.Hooks{})
	y := newTally("all", events, "user_service.events.all")
	w.count(y)
	w.run()
	m := &emitter{}
	emitTimed(t, w.Bus, m, 0, events/5, rate)
	if err := redis.Freeze(); err != nil {
		t.Fatal(err)
	}
	emitTimed(t, w.Bus, m, events/5, events, rate)
	m.noErrors(t)

	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	began := time.Now()
	closed := make(chan error, 1)
	go func() { closed <- w.Close(ctx) }()
	var err error
	select {
	case err = <-closed:
	case <-time.After(deadline + patience):
		t.Fatalf("Close has not returned %v after its deadline", patience)
	}
	took := time.Since(began)
	var left *bus.CloseError
	if !errors.As(err, &left) || left.Dropped == 0 {
		t.Errorf("Close returned %v: it had to leave events behind, and to say so", err)
	}
	if took > deadline+within(100*time.Millisecond) {
		t.Errorf("Close returned after %v, its deadline was %v", took, deadline)
	}
	if err := <-w.ran; err != nil {
		t.Errorf("Run returned %v", err)
	}
	if err := w.Emit(t.Context(), numbered(0)); !errors.Is(err, bus.ErrClosed) {
		t.Errorf("Emit after Close returned %v", err)
	}
	w.balanced()
	w.hooksTold()
	st := w.Stats().Published
	if st.Queued != 0 || st.Dropped[bus.DropClosed] != left.Dropped || st.Accepted != int64(events*len(channels)) {
		t.Errorf("Close left %+v behind, and its error says %d", st, left.Dropped)
	}
	figure(t, "redis-server frozen, Close", "returned after %v of %v; %d messages = %d confirmed + %v "+
		"dropped", ms(took), deadline,
		st.Accepted, st.Confirmed, st.Dropped)
}
