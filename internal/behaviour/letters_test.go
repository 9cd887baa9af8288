package behaviour

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/schema"
	"github.com/eventbus-go/eventbus/store/deadletter"
	"github.com/eventbus-go/eventbus/store/dedup"
)

func permanent(p *place) func(t *testing.T) {
	s := p.subscription("s", func(context.Context, schema.Event) error { return bus.Permanent(errNo) })
	sub := p.subscribe(s)
	return func(t *testing.T) {
		e := p.event("1")
		const trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
		if err := e.Metadata.Set("traceparent", trace); err != nil {
			t.Fatal(err)
		}
		body, err := schema.Encode(e)
		if err != nil {
			t.Fatal(err)
		}
		body = append([]byte("  {\"of_another_version\": [1, 2] , "), body[1:]...) // as no encoder of ours writes it
		p.publishRaw(t, "1", body)
		eventually(t, "it has failed", func() bool { return sub.Stats().Failed == 1 })
		got := p.letters(t, "s")
		if len(got) != 1 {
			t.Fatalf("the dead letters are %+v", got)
		}
		l := got[0]
		if l.Reason != deadletter.ReasonFailed || l.Attempts != 1 || l.Channel != p.channel() || l.EventID != e.ID ||
			l.EventType != e.Type || l.Fingerprint != deadletter.Fingerprint(e.Type, "permanent: card 9 declined") || l.First.IsZero() ||
			l.Trace != trace {
			t.Errorf("the letter says %+v", l)
		}
		if string(l.Body) != string(body) || !l.Whole() {
			t.Errorf("its body is\n%s\nand what arrived is\n%s", l.Body, body)
		}
		if st := sub.Stats(); st.DeadLettered != 1 || st.Retries != 0 {
			t.Errorf("the books say %+v", st)
		}
	}
}

// noMap hides from the compiler's friends that a write to it panics.
func noMap() map[string]int { return nil }

func panics(p *place) func(t *testing.T) {
	s := p.subscription("s", func(_ context.Context, e schema.Event) error {
		switch e.ID {
		case p.event("panic").ID:
			noMap()["x"] = 1
		case p.event("goexit").ID:
			runtime.Goexit()
		}
		return nil
	})
	s.Concurrency, s.Retry = 1, bus.RetryPolicy{Attempts: 1}
	sub := p.subscribe(s)
	return func(t *testing.T) {
		p.emit(t, p.event("panic"), p.event("goexit"))
		for i := range 10 {
			p.emit(t, p.event(strconv.Itoa(i)))
		}
		eventually(t, "the others are handled", func() bool { return sub.Stats().Handled == 10 && sub.Stats().Failed == 2 })
		got := p.letters(t, "s")
		if len(got) != 2 || got[0].Reason != deadletter.ReasonPanic || got[1].Reason != deadletter.ReasonPanic {
			t.Errorf("the dead letters are %+v", got)
		}
	}
}

func malformed(p *place) func(t *testing.T) {
	d := &diary{}
	sub := p.subscribe(p.subscription("s", d.handle))
	return func(t *testing.T) {
		raw := []byte("{ no event \xff\x00")
		p.publishRaw(t, "raw", raw)
		p.emit(t, p.event("good"))
		eventually(t, "both are done with", func() bool { return sub.Stats().MalformedTotal() == 1 && sub.Stats().Handled == 1 })
		got := p.letters(t, "s")
		if len(got) != 1 || got[0].Reason != deadletter.ReasonMalformed || string(got[0].Body) != string(raw) {
			t.Errorf("the dead letters are %+v", got)
		}
	}
}

func dropped(p *place) func(t *testing.T) {
	s := p.subscription("s", func(context.Context, schema.Event) error { return bus.Drop(errors.New("not wanted")) })
	sub := p.subscribe(s)
	return func(t *testing.T) {
		p.emit(t, p.event("1"))
		eventually(t, "it is dropped", func() bool { return sub.Stats().Dropped[bus.DropByHandler] == 1 })
		if st := sub.Stats(); st.Failed != 0 || st.Handled != 0 || len(p.letters(t, "s")) != 0 {
			t.Errorf("the books say %+v", st)
		}
	}
}

func deduplicated(p *place) func(t *testing.T) {
	d := &diary{}
	s := p.subscription("s", d.handle)
	s.Dedup = bus.DedupPolicy{Store: dedup.NewMemory(0)}
	sub := p.subscribe(s)
	return func(t *testing.T) {
		for range 3 {
			p.emit(t, p.event("1"))
		}
		p.emit(t, p.event("2"))
		want := int64(2)
		if p.caps.Dedup {
			want = 0 // the broker has dropped them itself
		}
		eventually(t, "all are done with", func() bool {
			st := sub.Stats()
			return st.Handled == 2 && st.Duplicate >= want
		})
		if n := d.count(p.event("1").ID); n != 1 || sub.Stats().Duplicate != want {
			t.Errorf("it was handled %d times; the books say %+v", n, sub.Stats())
		}
	}
}

// mended are subscriptions of which "mine" fails until it is mended, and "other" never.
func mended(p *place) (mine, other *diary, sub *bus.Sub, mend *atomic.Bool) {
	mine, other, mend = &diary{}, &diary{}, &atomic.Bool{}
	s := p.subscription("mine", func(ctx context.Context, e schema.Event) error {
		if !mend.Load() {
			return bus.Permanent(errNo)
		}
		return mine.handle(ctx, e)
	})
	sub = p.subscribe(s)
	p.subscribe(p.subscription("other", other.handle))
	return mine, other, sub, mend
}

const lettersOfRow = 7

// fail has events fail, and returns their ids.
func (p *place) fail(t *testing.T, sub *bus.Sub, other *diary) (ids []string) {
	for i := range lettersOfRow {
		e := p.event(strconv.Itoa(i))
		ids = append(ids, e.ID)
		p.emit(t, e)
	}
	eventually(t, "all have failed", func() bool { return sub.Stats().DeadLettered == lettersOfRow && other.len() == lettersOfRow })
	return ids
}

func redriven(p *place) func(t *testing.T) {
	mine, other, sub, mend := mended(p)
	return func(t *testing.T) {
		ids := p.fail(t, sub, other)
		mend.Store(true)
		r := p.redrive(t, "mine", p.bus.ToSubscription)
		got := slices.Sorted(slices.Values(mine.all()))
		if r.Sent != lettersOfRow || !slices.Equal(got, ids) || len(p.letters(t, "mine")) != 0 {
			t.Errorf("%+v; handled were %v, and left are %+v", r, got, p.letters(t, "mine"))
		}
		if n := other.len(); n != lettersOfRow {
			t.Errorf("the other subscription has handled %d, want %d", n, lettersOfRow)
		}
	}
}

func redrivenToAll(p *place) func(t *testing.T) {
	mine, other, sub, mend := mended(p)
	return func(t *testing.T) {
		ids := p.fail(t, sub, other)
		mend.Store(true)
		r := p.redrive(t, "mine", deadletter.ToChannel(p.bus.Send))
		eventually(t, "all are handled again", func() bool { return mine.len() >= lettersOfRow && other.len() >= 2*lettersOfRow })
		got := slices.Sorted(slices.Values(mine.all()))
		if r.Sent != lettersOfRow || !slices.Equal(got, ids) || len(p.letters(t, "mine")) != 0 {
			t.Errorf("%+v; handled were %v, and left are %+v", r, got, p.letters(t, "mine"))
		}
		for _, id := range ids {
			if n := other.count(id); n != 2 {
				t.Error(fmt.Sprint("the other subscription has handled ", id, " ", n, " times, want 2"))
			}
		}
	}
}

// stuck has a handler that ignores the end of its context until the test is over: its event is given up, and its worker replaced.
func stuck(p *place) func(t *testing.T) {
	end := make(chan struct{})
	s := p.subscription("s", func(_ context.Context, e schema.Event) error {
		if e.ID == p.event("stuck").ID {
			<-end
		}
		return nil
	})
	s.Concurrency, s.Retry = 1, bus.RetryPolicy{Attempts: 1}
	s.Timeout, s.Stuck = time.Second, bus.StuckPolicy{After: time.Second}
	sub := p.subscribe(s)
	return func(t *testing.T) {
		defer close(end)
		p.emit(t, p.event("stuck"))
		for i := range 10 {
			p.emit(t, p.event(strconv.Itoa(i)))
		}
		eventually(t, "the others are handled", func() bool { return sub.Stats().Handled == 10 && sub.Stats().Failed == 1 })
		if got := p.letters(t, "s"); len(got) != 1 || got[0].Reason != deadletter.ReasonStuck {
			t.Errorf("the dead letters are %+v", got)
		}
	}
}
