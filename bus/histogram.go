package bus

import (
	"slices"
	"time"
)

// A Histogram counts durations by their size.
type Histogram struct {
	// Bounds are the inclusive upper bounds of the buckets, ascending. They are shared: nobody modifies them.
	Bounds []time.Duration
	// Counts has how many fell into each bucket, and last how many were longer than all bounds. It is empty before
	// [Bus.Measure] is called, and has its zeroes from then on: who reads it again and again sees the first event come.
	Counts []int64
	// Sum is that of all durations.
	Sum time.Duration
}

// Bounds of the histograms of a subscription: what a handler may take, and how old an event may be.
var (
	tookBounds = []time.Duration{
		100 * time.Microsecond, 250 * time.Microsecond, 500 * time.Microsecond,
		time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond,
		10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
		100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
		time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second, 30 * time.Second, time.Minute,
	}
	ageBounds = []time.Duration{
		time.Millisecond, 5 * time.Millisecond, 10 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond,
		500 * time.Millisecond, time.Second, 5 * time.Second, 10 * time.Second, 30 * time.Second, time.Minute,
		5 * time.Minute, 15 * time.Minute, time.Hour, 6 * time.Hour, 24 * time.Hour,
	}
)

// Total is how many durations there were.
func (h Histogram) Total() int64 {
	var n int64
	for _, c := range h.Counts {
		n += c
	}
	return n
}

// open makes the buckets, unless they are there.
func (h *Histogram) open(bounds []time.Duration) {
	if h.Counts == nil {
		h.Bounds, h.Counts = bounds, make([]int64, len(bounds)+1)
	}
}

// add counts a duration. A negative one, which is two clocks that disagree, counts as none.
func (h *Histogram) add(bounds []time.Duration, d time.Duration) {
	h.open(bounds)
	d = max(d, 0)
	i := 0
	for i < len(bounds) && d > bounds[i] {
		i++
	}
	h.Counts[i]++
	h.Sum += d
}

func (h Histogram) snapshot() Histogram {
	h.Counts = slices.Clone(h.Counts)
	return h
}

// Measure begins to measure how long handlers take and how old events are when they are handled, for the Took and Age
// of [SubscriptionStats]. It costs two looks at the clock for each event, and nothing before it is called. The metrics
// of package observe call it.
func (b *Bus) Measure() { b.measuring.Store(true) }

// begin notes when an item's handling begins, where that is measured.
func (c *consumer) begin(it *item) {
	it.began = time.Time{}
	if c.bus.measuring.Load() {
		it.began = time.Now()
	}
}

// measure counts how long an item took that was begun. It is called with the lock held.
func (c *consumer) measure(it *item) {
	if it.began.IsZero() || it.bad != "" {
		return
	}
	c.counts.Took.add(tookBounds, time.Since(it.began))
	if it.attempt <= 1 {
		c.counts.Age.add(ageBounds, it.began.Sub(it.event.Time))
	}
}
