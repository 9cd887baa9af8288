package behaviour

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/schema"
)

// urgentFirst holds events of two priorities, and hands them out to one worker.
func urgentFirst(p *place) func(t *testing.T) {
	const low, critical = 40, 10
	d := &diary{}
	s := p.subscription("s", func(_ context.Context, e schema.Event) error { d.note(e.Priority.String()); return nil })
	s.Paused, s.Concurrency = true, 1
	sub := p.subscribe(s)
	return func(t *testing.T) {
		for i := range low + critical {
			e := p.event(strconv.Itoa(i))
			if e.Priority = schema.Low; i >= low {
				e.Priority = schema.Critical
			}
			p.emit(t, e)
		}
		eventually(t, "all are held", func() bool { return sub.Stats().InFlight == low+critical })
		sub.Resume()
		eventually(t, "all are handled", func() bool { return sub.Stats().Handled == low+critical })
		urgent := 0
		for _, priority := range d.all()[:critical+2] { // of eight in a row, one is what has waited for longest
			if priority == schema.Critical.String() {
				urgent++
			}
		}
		if urgent != critical {
			t.Errorf("they were handled as %v", d.all())
		}
	}
}

// paused takes events in and hands none out, as long as it is told to.
func paused(p *place) func(t *testing.T) {
	d := &diary{}
	sub := p.subscribe(p.subscription("s", d.handle))
	return func(t *testing.T) {
		p.emit(t, p.event("before"))
		eventually(t, "the first is handled", func() bool { return d.len() == 1 })
		sub.Pause()
		for i := range 20 {
			p.emit(t, p.event(strconv.Itoa(i)))
		}
		eventually(t, "all are held", func() bool { return sub.Stats().InFlight == 20 })
		if st := sub.Stats(); !st.Paused || d.len() != 1 {
			t.Errorf("%d were handled in the pause: %+v", d.len()-1, st)
		}
		sub.Resume()
		eventually(t, "all are handled", func() bool { return sub.Stats().Handled == 21 })
		if st := sub.Stats(); st.Paused || st.Retries+st.Redelivered+st.Failed+st.Duplicate != 0 {
			t.Errorf("the books say %+v", st)
		}
	}
}

// inBatches fails one event of each batch, for good, and one once.
func inBatches(p *place) func(t *testing.T) {
	const events = 20
	var mu sync.Mutex
	var sizes []int
	failed := false
	s := p.subscription("s", nil)
	s.BatchHandler = func(_ context.Context, batch []schema.Event) []error {
		mu.Lock()
		defer mu.Unlock()
		sizes = append(sizes, len(batch))
		errs := make([]error, len(batch))
		for i, e := range batch {
			switch {
			case e.ID == p.event("bad").ID:
				errs[i] = bus.Permanent(errNo)
			case e.ID == p.event("3").ID && !failed:
				failed, errs[i] = true, errNo
			}
		}
		return errs
	}
	s.Batch = bus.BatchConfig{MaxEvents: 10, MaxWait: time.Second}
	s.Retry = fixed(3, time.Millisecond)
	sub := p.subscribe(s)
	return func(t *testing.T) {
		for i := range events {
			p.emit(t, p.event(strconv.Itoa(i)))
		}
		p.emit(t, p.event("bad"))
		eventually(t, "all are done with", func() bool { st := sub.Stats(); return st.Handled == events && st.DeadLettered == 1 })
		if st := sub.Stats(); st.Retries != 1 || st.Failed != 1 {
			t.Errorf("the books say %+v", st)
		}
		if l := p.letters(t, "s"); len(l) != 1 || l[0].EventID != p.event("bad").ID {
			t.Errorf("the dead letters are %+v", l)
		}
		mu.Lock()
		defer mu.Unlock()
		if len(sizes) >= events {
			t.Errorf("no batch had more than one: %v", sizes)
		}
	}
}

// rated is handed no more than its rate lets pass.
func rated(p *place) func(t *testing.T) {
	const events, perSecond = 5, 2
	var mu sync.Mutex
	var times []time.Time
	s := p.subscription("s", func(context.Context, schema.Event) error {
		mu.Lock()
		defer mu.Unlock()
		times = append(times, time.Now())
		return nil
	})
	s.Rate = bus.RateLimit{Events: perSecond, Burst: 1}
	sub := p.subscribe(s)
	return func(t *testing.T) {
		for i := range events {
			p.emit(t, p.event(strconv.Itoa(i)))
		}
		eventually(t, "all are handled", func() bool { return sub.Stats().Handled == events })
		mu.Lock()
		defer mu.Unlock()
		// The last one is handed out this long after the first; either may then have waited for a processor.
		least := (events - 1) * time.Second / perSecond
		if took := times[events-1].Sub(times[0]); took < least/2 {
			t.Errorf("%d events were handed out within %v, which takes %v", events, took, least)
		}
	}
}

// broken uses up no attempt of what waits while its handler cannot do anything.
func broken(p *place) func(t *testing.T) {
	const events = 10
	var sub *bus.Sub
	var tries atomic.Int64
	s := p.subscription("s", func(context.Context, schema.Event) error {
		// It is mended once the breaker has opened three times: whoever looked at that from outside might come too late, and find the
		// attempts of an event that was tried used up.
		if tries.Add(1); sub.Stats().BreakerOpened >= 3 {
			return nil
		}
		return errNo
	})
	s.Concurrency = 2
	s.Retry = fixed(5, 10*time.Millisecond)
	s.Breaker = bus.BreakerPolicy{Failures: 2, Within: time.Hour, Pause: 100 * time.Millisecond}
	sub = p.subscribe(s)
	return func(t *testing.T) {
		for i := range events {
			p.emit(t, p.event(strconv.Itoa(i)))
		}
		eventually(t, "all are handled", func() bool { return sub.Stats().Handled == events })
		if st := sub.Stats(); st.Failed+st.DeadLettered != 0 || st.Breaker != bus.BreakerClosed || st.BreakerOpened != 3 {
			t.Errorf("after %d tries the books say %+v", tries.Load(), st)
		}
	}
}
