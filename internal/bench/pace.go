package main

import (
	"runtime"
	"time"
)

// epoch is what now counts from: a monotonic clock without the wall clock's half is the cheapest there is.
var epoch = time.Now()

// now is the time in ns.
func now() int64 { return int64(time.Since(epoch)) }

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

// A pacer calls n times at a fixed interval. A call that comes late is followed by the next one at once, until the pace
// is caught up with.
type pacer struct {
	interval time.Duration
	wait     func(until int64)
}

func (p pacer) run(n int, call func(i int) error) error {
	next := now()
	for i := range n {
		p.wait(next)
		if err := call(i); err != nil {
			return err
		}
		next += int64(p.interval)
	}
	return nil
}

// spin waits by looking at the clock, and offers its processor to other goroutines each time, as a service does between
// two requests. A sleep is no alternative at intervals of some 10 us: on Linux it takes 60 us at least, 1.1 ms by
// time.Sleep, and would turn an even pace into bursts, of which the first call alone pays for waking the sender.
// Spinning without offering the processor is none either on a machine of two cores: the goroutine that sends would
// not run before the runtime takes the processor away, after 10 ms.
func spin(until int64) {
	for now() < until {
		runtime.Gosched()
	}
}
