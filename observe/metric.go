package observe

import (
	"slices"
	"strings"

	"github.com/eventbus-go/eventbus/bus"
)

// A Metric says what is counted.
type Metric struct {
	// Name is as Prometheus has it: with the unit, and _total where it is a counter.
	Name string
	// Help is a sentence.
	Help string
	Kind Kind
	// Labels are the names of its labels.
	Labels []string

	merge func(a, b float64) float64 // of samples whose labels became the same; the sum where it is nil
}

// Kind is how a metric changes.
type Kind uint8

// A Counter only grows while the bus lives, a Gauge goes up and down, and a Histogram counts durations in seconds.
const (
	Counter Kind = iota
	Gauge
	Histogram
)

// String returns the kind as Prometheus writes it.
func (k Kind) String() string { return [...]string{"counter", "gauge", "histogram"}[k] }

// A Sample is the value of a metric for some values of its labels.
type Sample struct {
	Metric *Metric
	// Labels are the values, in the order of Metric.Labels.
	Labels []string
	// Value is that of a counter or gauge.
	Value float64
	// Histogram is that of a histogram. It has no Counts where the bus does not measure.
	Histogram bus.Histogram
}

// Metrics returns every metric that there is, by name. The caller does not modify them.
func Metrics() []*Metric {
	all := slices.Concat(ofBuses.metrics(), ofBrokers.metrics(), ofSubscriptions.metrics(), probed)
	slices.SortFunc(all, func(a, b *Metric) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// A reading is a metric and where its values come from.
type reading[T any] struct {
	*Metric
	value func(T) float64
	// What is counted by a further label, or as a histogram, instead of value.
	byReason  func(T) map[string]float64
	histogram func(T) bus.Histogram
}

type readings[T any] []reading[T]

func (r readings[T]) metrics() (all []*Metric) {
	for _, one := range r {
		all = append(all, one.Metric)
	}
	return all
}

// read yields the samples of one subject, which the first labels name.
func (r readings[T]) read(of T, yield func(Sample), labels ...string) {
	for _, one := range r {
		switch {
		case one.histogram != nil:
			yield(Sample{Metric: one.Metric, Labels: labels, Histogram: one.histogram(of)})
		case one.byReason != nil:
			for reason, n := range one.byReason(of) {
				yield(Sample{Metric: one.Metric, Labels: append(slices.Clip(labels), reason), Value: n})
			}
		default:
			yield(Sample{Metric: one.Metric, Labels: labels, Value: one.value(of)})
		}
	}
}

func counter(name, help string, labels ...string) *Metric {
	return &Metric{Name: prefix + name + "_total", Help: help, Labels: labels}
}

func gauge(name, help string, labels ...string) *Metric {
	return &Metric{Name: prefix + name, Help: help, Kind: Gauge, Labels: labels}
}

// largest makes m, where subjects are merged, the largest of them.
func largest(m *Metric) *Metric {
	m.merge = func(a, b float64) float64 { return max(a, b) }
	return m
}

// smallest makes m, where subjects are merged, the smallest of them.
func smallest(m *Metric) *Metric {
	m.merge = func(a, b float64) float64 { return min(a, b) }
	return m
}

// prefix is that of all names.
const prefix = "eventbus_"

func yes(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// counts makes a reading by reason, in which every reason that is known stands from the beginning: a rate sees the
// first one only where there was a 0 before.
func counts[K ~string](m map[K]int64, known ...K) map[string]float64 {
	out := make(map[string]float64, len(known)+len(m))
	for _, k := range known {
		out[string(k)] = 0
	}
	for k, n := range m {
		out[string(k)] = float64(n)
	}
	return out
}
