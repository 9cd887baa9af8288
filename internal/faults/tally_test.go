package faults

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/schema"
)

// A tally counts in a subscription's handler which of the numbered events were handled.
type tally struct {
	name     string
	patterns []string
	handled  []atomic.Int32
	count    atomic.Int64
	last     atomic.Int64 // when the last one was handled, in nanoseconds after began
	began    time.Time

	mu   sync.Mutex
	gaps []bus.Gap
}

func newTally(name string, events int, patterns ...string) *tally {
	return &tally{name: name, patterns: patterns, handled: make([]atomic.Int32, events), began: time.Now()}
}

// subscription is what the tally stands in.
func (y *tally) subscription() bus.Subscription {
	return bus.Subscription{Name: y.name, Channels: y.patterns, Handler: y.handle}
}

func (y *tally) handle(_ context.Context, e schema.Event) error {
	if i := number(e.ID); i >= 0 && i < len(y.handled) {
		y.handled[i].Add(1)
	}
	y.count.Add(1)
	y.last.Store(int64(time.Since(y.began)))
	return nil
}

// gap is told of the gaps of all subscriptions, and keeps its own.
func (y *tally) gap(g bus.Gap) {
	if g.Subscription != y.name {
		return
	}
	y.mu.Lock()
	defer y.mu.Unlock()
	y.gaps = append(y.gaps, g)
}

func (y *tally) gapList() []bus.Gap {
	y.mu.Lock()
	defer y.mu.Unlock()
	return slices.Clone(y.gaps)
}

// handledAfter reports whether an event was handled after at.
func (y *tally) handledAfter(at time.Time) bool {
	return y.began.Add(time.Duration(y.last.Load())).After(at)
}

// resumes waits until an event is handled after at, and returns how long that took.
func (y *tally) resumes(t *testing.T, at time.Time, limit time.Duration) time.Duration {
	t.Helper()
	eventually(t, limit, y.name+" is handed events again", func() bool { return y.handledAfter(at) })
	return y.began.Add(time.Duration(y.last.Load())).Sub(at)
}

// losses are events that were confirmed by the broker and not handled.
type losses struct {
	inGaps   int // while the subscription had reported that it may miss something
	silent   int // at any other time
	farthest time.Duration
	example  string
}

// losses compares what the broker confirmed with what was handled. ready is since when the broker had the subscription.
func (y *tally) losses(w *witness, ready time.Time) (l losses) {
	patterns := make([]brokers.Pattern, len(y.patterns))
	for i, p := range y.patterns {
		patterns[i], _ = brokers.ParsePattern(p)
	}
	gaps := y.gapList()
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range y.handled {
		if y.handled[i].Load() > 0 {
			continue
		}
		lost, outside := false, time.Duration(-1)
		for c, channel := range channels {
			s := w.sends[i*len(channels)+c]
			wanted := slices.ContainsFunc(patterns, func(p brokers.Pattern) bool { return p.Match(channel) })
			if !wanted || s.tries == 0 || s.outcome != brokers.Confirmed || w.began.Add(s.to).Before(ready) {
				continue
			}
			lost = true
			if d := distance(gaps, w.began.Add(s.from), w.began.Add(s.to)); d > 0 {
				outside = max(outside, d)
			}
		}
		switch {
		case outside >= 0:
			l.silent++
			if outside > l.farthest {
				l.farthest, l.example = outside, numbered(i).ID
			}
		case lost:
			l.inGaps++
		}
	}
	return l
}

// distance returns how far the interval from..to is from the nearest gap: 0 where it touches one.
func distance(gaps []bus.Gap, from, to time.Time) time.Duration {
	nearest := time.Duration(1<<63 - 1)
	for _, g := range gaps {
		nearest = min(nearest, max(0, g.Since.Sub(to), from.Sub(g.Until)))
	}
	return nearest
}

// nothingTwice checks that no event was handled more than once.
func (y *tally) nothingTwice(t *testing.T) {
	t.Helper()
	for i := range y.handled {
		if n := y.handled[i].Load(); n > 1 {
			t.Errorf("%s: event %d was handled %d times", y.name, i, n)
			return
		}
	}
}

// everythingAccounted waits until every event that the broker confirmed was handled or fell into a gap.
func (y *tally) everythingAccounted(t *testing.T, w *witness, ready time.Time, limit time.Duration) losses {
	t.Helper()
	deadline := time.Now().Add(limit)
	for {
		l := y.losses(w, ready)
		if l.silent == 0 {
			return l
		}
		if time.Now().After(deadline) {
			t.Errorf("%s: %d confirmed events were neither handled nor sent in a gap, such as %s, which was sent %v away "+
				"from the "+
				"nearest of the %d gaps", y.name, l.silent, l.example, l.farthest, len(y.gapList()))
			return l
		}
		time.Sleep(20 * time.Millisecond)
	}
}
