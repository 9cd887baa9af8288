package main

import (
	"context"
	"log/slog"
	"math"
	"time"

	"github.com/eventbus-go/eventbus/bus"
)

const (
	emitRate     = 50_000 // calls per second
	emitMaxMean  = 1500   // ns
	emitMaxP50   = 1000   // ns
	emitMaxAlloc = 3.0
)

// emitRows measure what Emit costs its caller: making the event with its payload encoded, the id, the routing to three
// channels, the envelope, and queueing, which now and then means waking the goroutine that sends. There is no base:
// nothing else hands an event over without sending it.
func emitRows(ctx context.Context, l *lab) ([]row, error) {
	allocs, err := emitAllocs(ctx)
	if err != nil {
		return nil, err
	}
	runs, err := l.inTurns(ctx, side{"Emit, 3 channels, 50,000/s", l.pacedEmit})
	if err != nil {
		return nil, err
	}
	got := medians(runs[0])
	whole := newSample()
	whole.allocs = got.allocs
	got.allocs = allocs
	l.figures[keyEmitMean], l.figures[keyEmitP50], l.figures[keyEmitAllocs] = got.mean, got.p50, got.allocs
	return []row{
		row{what: "Emit, typed event to 3 channels, at 50,000/s: on the caller", got: got, ratios: noRatio}.need(
			"mean 1.5 µs, p50 1 µs, 3 allocs", got.mean <= emitMaxMean, got.p50 <= emitMaxP50, got.allocs <= emitMaxAlloc),
		{what: "  the same, allocations of the whole process", got: whole, ratios: noRatio},
	}, nil
}

// pacedEmit calls Emit at an even pace and measures each call, the making of the event included. The cost of reading
// the clock is taken off.
func (l *lab) pacedEmit(ctx context.Context) (sample, error) {
	r, err := openRig(ctx, bus.Config{URL: l.url(), Publish: patient})
	if err != nil {
		return sample{}, err
	}
	ns := make([]int64, l.emit)
	before := mallocs()
	start := now()
	err = spin(l.emit, time.Second/emitRate, func(i int) error {
		begin := now()
		err := r.Emit(ctx, newEvent(i%users))
		ns[i] = max(now()-begin-l.clock, 0)
		return err
	})
	took := since(start)
	if err != nil {
		return sample{}, err
	}
	if err := r.finish(ctx, l.emit); err != nil {
		return sample{}, err
	}
	allocated := mallocs() - before
	s := costSample(ns)
	s.rate = rateSample(l.emit, took).rate
	s.allocs = float64(allocated) / float64(l.emit)
	return s, nil
}

// emitAllocs counts the heap objects of one call of Emit, the making of the event included, with the goroutines that
// send kept from doing anything. Like testing.AllocsPerRun it rounds down: what is allocated once for some hundred
// events (a block of ids, a chunk of the queue) does not count here, and does in the figure of the whole process.
func emitAllocs(ctx context.Context) (float64, error) {
	const warm, calls = 2_000, 20_000
	conn := stuck{make(chan struct{})}
	cfg := bus.Config{Publish: bus.PublishConfig{LaneConfig: bus.LaneConfig{SendTimeout: time.Minute}}}
	b, err := bus.New(ctx, conn, cfg, bus.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		return math.NaN(), err
	}
	emit := func(n int) error {
		for i := range n {
			if err := b.Emit(ctx, newEvent(i%users)); err != nil {
				return err
			}
		}
		return nil
	}
	if err := emit(warm); err != nil {
		return math.NaN(), err
	}
	before := mallocs()
	if err := emit(calls); err != nil {
		return math.NaN(), err
	}
	allocated := mallocs() - before
	close(conn.closed)
	gone, cancel := context.WithCancel(ctx)
	cancel()
	_ = b.Close(gone) // it says that the events were not sent, which is what this is about
	return float64(allocated / calls), nil
}
