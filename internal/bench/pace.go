package main

import (
	"context"
	"runtime"
	"time"
)

// epoch is what now counts from: a monotonic clock without the wall clock's half is the cheapest there is.
var epoch = time.Now()

// now is the time in ns.
func now() int64 { return int64(time.Since(epoch)) }

// A rest is a wait that may be taken again and again. It allocates once, so that what a run allocates is the run's own.
type rest struct{ timer *time.Timer }

func newRest() rest {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return rest{t}
}

// take waits for d, or until ctx ends, and returns why it ended early.
func (r rest) take(ctx context.Context, d time.Duration) error {
	r.timer.Reset(d)
	select {
	case <-r.timer.C:
		return nil
	case <-ctx.Done():
		r.timer.Stop()
		return context.Cause(ctx)
	}
}

// aMoment is how long those rest who wait for handlers to catch up.
const aMoment = 50 * time.Microsecond

// since returns the time that has passed since start, a reading of now.
func since(start int64) time.Duration { return time.Duration(now() - start) }

// clockCost is what a measurement of nothing shows: the median of the time between two readings of the clock. It is
// subtracted from the durations of single calls.
func clockCost() int64 {
	const readings = 10_000
	ns := make([]int64, readings)
	for i := range ns {
		start := now()
		ns[i] = now() - start
	}
	return int64(costSample(ns).p50)
}

// mallocs is how many heap objects the process has allocated so far. It stops the world.
func mallocs() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.Mallocs
}

// spin calls n times at an even pace, and looks at the clock in between, offering its processor to other goroutines
// each time, as a service does between two requests. A call that comes late is followed by the next one at once, until
// the pace is caught up with.
//
// It is for intervals of some 10 us. Sleeping is no alternative there: on Linux a sleep takes 60 us at least, 1.1 ms by
// time.Sleep, and would turn an even pace into bursts, of which the first call alone pays for waking the sender.
// Spinning without offering the processor is none either on a machine of two cores: the goroutine that sends might not
// run before the runtime takes the processor away, after 10 ms.
func spin(n int, interval time.Duration, call func(i int) error) error {
	next := now()
	for i := range n {
		for now() < next {
			runtime.Gosched()
		}
		if err := call(i); err != nil {
			return err
		}
		next += int64(interval)
	}
	return nil
}
