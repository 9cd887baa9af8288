package behaviour

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/router"
	"github.com/eventbus-go/eventbus/router/middleware"
	"github.com/eventbus-go/eventbus/schema"
)

var errNo = errors.New("card 17 declined")

// failing fails the first so many attempts of an event, and notes each as "id attempt".
func failing(d *diary, attempts int) bus.Handler {
	return func(ctx context.Context, e schema.Event) error {
		n := router.Attempt(ctx)
		d.note(e.ID + " " + strconv.Itoa(n))
		if n <= attempts {
			return errNo
		}
		return nil
	}
}

func retryInPlace(p *place) func(t *testing.T) {
	d := &diary{}
	s := p.subscription("s", failing(d, 2))
	s.Retry = bus.RetryPolicy{Attempts: 3, Backoff: bus.Backoff{Min: time.Millisecond, Max: time.Millisecond}}
	sub := p.subscribe(s)
	return func(t *testing.T) {
		p.emit(t, p.event("1"))
		eventually(t, "it is handled", func() bool { return sub.Stats().Handled == 1 })
		id := p.event("1").ID
		if got, want := d.all(), []string{id + " 1", id + " 2", id + " 3"}; !slices.Equal(got, want) {
			t.Errorf("the attempts were %v, want %v", got, want)
		}
		if st := sub.Stats(); st.Retries != 2 || st.Redelivered != 0 || st.Failed != 0 {
			t.Errorf("the books say %+v", st)
		}
	}
}

// One worker, and an event that fails until the others have passed it.
func retryLater(p *place) func(t *testing.T) {
	const others = 20
	var passed atomic.Int64
	var other diary
	s := p.subscription("mine", func(_ context.Context, e schema.Event) error {
		if e.ID != p.event("bad").ID {
			passed.Add(1)
		} else if passed.Load() < others {
			return errNo
		}
		return nil
	})
	s.Concurrency, s.Retry = 1, fixed(1000, 300*time.Millisecond)
	sub := p.subscribe(s)
	p.subscribe(p.subscription("other", other.handle))
	return func(t *testing.T) {
		p.emit(t, p.event("bad"))
		for i := range others {
			p.emit(t, p.event(strconv.Itoa(i)))
		}
		back := p.caps.Delay && p.caps.Order == brokers.OrderNone // by the broker, which may be quicker than its reply
		eventually(t, "all are handled", func() bool {
			st := sub.Stats()
			return st.Handled == others+1 && other.len() >= others+1 && (!back || st.Redelivered >= st.Retries)
		})
		st := sub.Stats()
		if st.Retries < 1 || back && st.Redelivered != st.Retries || !back && st.Redelivered != 0 {
			t.Errorf("the books say %+v", st)
		}
		if n := other.count(p.event("bad").ID); n != 1 {
			t.Errorf("the other subscription has handled it %d times", n)
		}
	}
}

func retryAfter(p *place) func(t *testing.T) {
	const wait = 400 * time.Millisecond
	var first, second time.Time
	s := p.subscription("s", func(ctx context.Context, _ schema.Event) error {
		if router.Attempt(ctx) == 1 {
			first = time.Now()
			return bus.RetryAfter(errNo, wait)
		}
		second = time.Now()
		return nil
	})
	s.Retry = fixed(3, time.Millisecond)
	sub := p.subscribe(s)
	return func(t *testing.T) {
		p.emit(t, p.event("1"))
		eventually(t, "it is handled", func() bool { return sub.Stats().Handled == 1 })
		if took := second.Sub(first); took < wait*95/100 { // a broker's clock is not ours
			t.Errorf("the second attempt came after %v, want %v", took, wait)
		}
	}
}

func attemptTimesOut(p *place) func(t *testing.T) {
	d := &diary{}
	s := p.subscription("s", func(ctx context.Context, e schema.Event) error {
		d.note(e.ID)
		<-ctx.Done()
		return ctx.Err()
	})
	s.Timeout, s.Retry = 50*time.Millisecond, fixed(2, time.Millisecond)
	sub := p.subscribe(s)
	return func(t *testing.T) {
		p.emit(t, p.event("1"))
		eventually(t, "it has failed", func() bool { return sub.Stats().Failed == 1 })
		if got := p.letters(t, "s"); d.len() != 2 || len(got) != 1 || got[0].Attempts != 2 {
			t.Errorf("%d attempts, and the dead letters are %+v", d.len(), got)
		}
	}
}

// policies tries one error as often as the policy says, and another one once, since it has a policy of its own.
func policies(p *place) func(t *testing.T) {
	errNever := errors.New("no such card")
	d := &diary{}
	s := p.subscription("s", func(_ context.Context, e schema.Event) error {
		if d.note(e.ID); e.ID == p.event("never").ID {
			return fmt.Errorf("charge: %w", errNever)
		}
		return errNo
	})
	s.Retry = fixed(3, time.Millisecond)
	s.Retry.Errors = []middleware.ErrorPolicy{middleware.WhenIs(errNever, middleware.Never)}
	sub := p.subscribe(s)
	return func(t *testing.T) {
		p.emit(t, p.event("never"), p.event("often"))
		eventually(t, "both have failed", func() bool { return sub.Stats().Failed == 2 })
		if never, often := d.count(p.event("never").ID), d.count(p.event("often").ID); never != 1 || often != 3 {
			t.Errorf("the one was tried %d times, and the other one %d times", never, often)
		}
	}
}

func ordered(p *place) func(t *testing.T) {
	const keys, each = 5, 20 // the first of each fails: once, or where no order is promised until another one has passed it
	var mu sync.Mutex
	seen := make(map[string][]int)
	s := p.subscription("s", func(ctx context.Context, e schema.Event) error {
		var key, n int
		if _, err := fmt.Sscanf(string(e.Data), `{"key":%d,"n":%d}`, &key, &n); err != nil {
			return bus.Permanent(err)
		}
		mu.Lock()
		defer mu.Unlock()
		if n == 0 && (router.Attempt(ctx) == 1 || !keepsKeys(p.caps) && len(seen[e.Subject]) == 0) {
			return errNo
		}
		seen[e.Subject] = append(seen[e.Subject], n)
		return nil
	})
	s.Retry = fixed(1000, 100*time.Millisecond)
	sub := p.subscribe(s)
	return func(t *testing.T) {
		for n := range each {
			for key := range keys {
				e := p.event(fmt.Sprint(key, "-", n))
				e.Subject, e.Data = fmt.Sprint("user:", key), fmt.Appendf(nil, `{"key":%d,"n":%d}`, key, n)
				p.emit(t, e)
			}
		}
		eventually(t, "all are handled", func() bool { return sub.Stats().Handled == keys*each })
		mu.Lock()
		defer mu.Unlock()
		for key, got := range seen {
			if len(got) != each || keepsKeys(p.caps) && !slices.IsSorted(got) || !keepsKeys(p.caps) && got[0] == 0 {
				t.Errorf("%s was handled as %v", key, got)
			}
		}
	}
}

// poison has one event whose next attempt never comes while the others are handled, by as few workers as there can be.
func poison(p *place) func(t *testing.T) {
	const others = 500
	d := &diary{}
	s := p.subscription("s", func(_ context.Context, e schema.Event) error {
		if d.note(e.ID); e.ID == p.event("bad").ID {
			return errNo
		}
		return nil
	})
	s.Concurrency, s.Retry = 1, fixed(5, time.Hour)
	sub := p.subscribe(s)
	return func(t *testing.T) {
		p.emit(t, p.event("bad"))
		for i := range others {
			p.emit(t, p.event(strconv.Itoa(i)))
		}
		eventually(t, "the others are handled", func() bool { return sub.Stats().Handled == others })
		if n := d.count(p.event("bad").ID); n != 1 {
			t.Errorf("the poisonous one was tried %d times", n)
		}
	}
}
