package main

import (
	"math"
	"slices"
	"time"
)

// A sample is what one run of one side measured. What it did not measure is NaN, see newSample.
type sample struct {
	rate                float64 // events per second
	mean                float64 // ns per call or event
	allocs              float64 // heap objects per event
	p50, p99, p999, max float64 // ns
	due                 float64 // ns, like p99 but counted from when a paced call was due
}

func newSample() sample {
	nan := math.NaN()
	return sample{nan, nan, nan, nan, nan, nan, nan, nan}
}

// rateSample is a run that handled n events in d.
func rateSample(n int, d time.Duration) sample {
	s := newSample()
	s.rate = float64(n) / d.Seconds()
	return s
}

// costOf is what each of n events cost.
func costOf(n int, took time.Duration, mallocsBefore uint64) sample {
	s := rateSample(n, took)
	s.mean = float64(took) / float64(n)
	s.allocs = float64(mallocs()-mallocsBefore) / float64(n)
	return s
}

// costSample summarises the durations of single calls, in ns. It sorts them.
func costSample(ns []int64) sample {
	s := newSample()
	slices.Sort(ns)
	var sum int64
	for _, v := range ns {
		sum += v
	}
	s.mean = float64(sum) / float64(len(ns))
	s.p50, s.p99, s.p999 = percentile(ns, 0.5), percentile(ns, 0.99), percentile(ns, 0.999)
	s.max = float64(ns[len(ns)-1])
	return s
}

// percentile is the smallest value that at least the share q of the sorted values does not exceed (nearest rank).
func percentile(sorted []int64, q float64) float64 {
	if len(sorted) == 0 {
		return math.NaN()
	}
	rank := int(math.Ceil(q * float64(len(sorted))))
	return float64(sorted[min(max(rank, 1), len(sorted))-1])
}

// median of values, NaN where there are none. NaNs among them make it NaN.
func median(values []float64) float64 {
	if len(values) == 0 || slices.ContainsFunc(values, math.IsNaN) {
		return math.NaN()
	}
	v := slices.Sorted(slices.Values(values))
	mid := len(v) / 2
	if len(v)%2 == 1 {
		return v[mid]
	}
	return (v[mid-1] + v[mid]) / 2
}

// medians takes each figure's median on its own.
func medians(runs []sample) sample {
	of := func(get func(sample) float64) float64 {
		var v []float64
		for _, r := range runs {
			v = append(v, get(r))
		}
		return median(v)
	}
	return sample{
		rate: of(func(s sample) float64 { return s.rate }), mean: of(func(s sample) float64 { return s.mean }),
		allocs: of(func(s sample) float64 { return s.allocs }), p50: of(func(s sample) float64 { return s.p50 }),
		p99: of(func(s sample) float64 { return s.p99 }), p999: of(func(s sample) float64 { return s.p999 }),
		max: of(func(s sample) float64 { return s.max }), due: of(dueOf),
	}
}

// A ratio is how two sides compare: the median of the ratios of neighbouring runs, and their extremes.
type ratio struct{ mid, low, high float64 }

var noRatio = ratio{math.NaN(), math.NaN(), math.NaN()}

// compare divides a figure of ours by that of the base, run by run.
func compare(ours, base []sample, get func(sample) float64) ratio {
	var all []float64
	for i := range ours {
		all = append(all, get(ours[i])/get(base[i]))
	}
	if math.IsNaN(median(all)) {
		return noRatio
	}
	return ratio{median(all), slices.Min(all), slices.Max(all)}
}

func rateOf(s sample) float64 { return s.rate }
func p50Of(s sample) float64  { return s.p50 }
func p99Of(s sample) float64  { return s.p99 }
func dueOf(s sample) float64  { return s.due }
