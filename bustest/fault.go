package bustest

import (
	"fmt"
	"slices"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
)

// A Fault says what goes wrong with deliveries, and with which of them: all of them, unless its methods narrow it down. They return
// a new Fault each.
type Fault struct {
	kind     Kind
	types    []string
	channels []string
	nth      []int
	rate     float64
	limit    int
	min, max time.Duration // of a delay, or from when to when the broker is away
	places   int
}

// Kind names what a Fault does, in Broker.Injected.
type Kind string

// What a Fault does.
const (
	Dropped    Kind = "drop"
	Duplicated Kind = "duplicate"
	Delayed    Kind = "delay"
	Reordered  Kind = "reorder"
	Crashed    Kind = "crash before ack"
	Away       Kind = "outage"
)

// Drop loses deliveries, and reports a gap for each, as every driver does.
func Drop() Fault { return Fault{kind: Dropped} }

// Duplicate delivers twice, the second one right behind the first.
func Duplicate() Fault { return Fault{kind: Duplicated} }

// Delay delivers later, by a time between least and most that chance decides. Later deliveries of the same key wait behind it, where
// the broker keeps their order.
func Delay(least, most time.Duration) Fault { return Fault{kind: Delayed, min: least, max: most} }

// Reorder delivers behind the next n deliveries, whatever their keys, or a second later where fewer come.
func Reorder(n int) Fault { return Fault{kind: Reordered, places: n} }

// CrashBeforeAck delivers again, a second later, what was acknowledged: the process died after its handler had returned and before the
// broker heard of it. What the bus remembers in memory is not forgotten as it would be: a subscription to several channels recognises the event, and
// counts a duplicate.
func CrashBeforeAck() Fault { return Fault{kind: Crashed} }

// Outage makes the broker unreachable from a time after NewBroker on, for so long. Publishing fails meanwhile, which the bus tries
// again; nothing is delivered, and settling fails, so that what was handled is delivered again.
func Outage(after, length time.Duration) Fault {
	return Fault{kind: Away, min: after, max: after + length}
}

// Of narrows a fault down to types of events, given as patterns.
func (f Fault) Of(types ...string) Fault { f.types = slices.Concat(f.types, types); return f }

// On narrows a fault down to channels, given as patterns.
func (f Fault) On(channels ...string) Fault {
	f.channels = slices.Concat(f.channels, channels)
	return f
}

// Nth narrows a fault down to some of the deliveries that match, in the order in which they come, the first one being 1. What is
// delivered again counts again.
func (f Fault) Nth(n ...int) Fault { f.nth = slices.Concat(f.nth, n); return f }

// Rate narrows a fault down to a share of the deliveries that match, between 0 and 1; chance decides, by the broker's seed.
func (f Fault) Rate(share float64) Fault { f.rate = share; return f }

// AtMost ends a fault after so many times.
func (f Fault) AtMost(times int) Fault { f.limit = times; return f }

// A rule is a fault of a broker, and what became of it.
type rule struct {
	Fault
	number          int
	types, channels []brokers.Pattern
	matched, done   int
}

func compile(number int, f Fault) (*rule, error) {
	r := &rule{Fault: f, number: number}
	var err error
	if r.types, err = patterns(f.types); err != nil {
		return nil, fmt.Errorf("fault %d (%s): Of: %w", number, f.kind, err)
	}
	if r.channels, err = patterns(f.channels); err != nil {
		return nil, fmt.Errorf("fault %d (%s): On: %w", number, f.kind, err)
	}
	switch {
	case f.rate < 0 || f.rate > 1:
		err = fmt.Errorf("Rate(%v): it is between 0 and 1", f.rate)
	case f.min < 0 || f.max < f.min:
		err = fmt.Errorf("a time from %v to %v cannot be meant", f.min, f.max)
	case f.kind == Reordered && f.places < 1:
		err = fmt.Errorf("Reorder(%d): it is at least 1", f.places)
	case slices.ContainsFunc(f.nth, func(n int) bool { return n < 1 }):
		err = fmt.Errorf("Nth counts from 1")
	}
	if err != nil {
		return nil, fmt.Errorf("fault %d (%s): %w", number, f.kind, err)
	}
	return r, nil
}

func patterns(in []string) ([]brokers.Pattern, error) {
	var out []brokers.Pattern
	for _, s := range in {
		p, err := brokers.ParsePattern(s)
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}

// hits decides whether a delivery is to go wrong, and counts it. The broker's lock is held.
func (r *rule) hits(d *dice, m *brokers.Message) bool {
	if !matches(r.types, m.Type) || !matches(r.channels, m.Channel) {
		return false
	}
	r.matched++
	if r.limit > 0 && r.done >= r.limit || len(r.nth) > 0 && !slices.Contains(r.nth, r.matched) {
		return false
	}
	if r.rate > 0 && d.roll(r.number, m) >= r.rate {
		return false
	}
	r.done++
	return true
}

func matches(patterns []brokers.Pattern, name string) bool {
	return len(patterns) == 0 || slices.ContainsFunc(patterns, func(p brokers.Pattern) bool { return p.Match(name) })
}
