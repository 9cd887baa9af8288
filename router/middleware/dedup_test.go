package middleware_test

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eventbus-go/eventbus/router"
	"github.com/eventbus-go/eventbus/router/middleware"
	"github.com/eventbus-go/eventbus/schema"
	"github.com/eventbus-go/eventbus/store/dedup"
)

// A noteStore is a store of one event, which notes what it is asked.
type noteStore struct {
	state dedup.State
	fail  error
	asked []string
}

func (s *noteStore) Reserve(context.Context, string, string, uint64, time.Duration) (dedup.State, error) {
	s.asked = append(s.asked, "reserve")
	was := s.state
	if was == dedup.Fresh && s.fail == nil {
		s.state = dedup.Reserved
	}
	return was, s.fail
}

func (s *noteStore) Renew(context.Context, string, string, uint64, time.Duration) (bool, error) {
	return true, nil
}

func (s *noteStore) Confirm(context.Context, string, string, time.Duration) error {
	s.asked = append(s.asked, "confirm")
	s.state = dedup.Handled
	return nil
}

func (s *noteStore) Release(context.Context, string, string, uint64) error {
	s.asked = append(s.asked, "release")
	s.state = dedup.Fresh
	return nil
}

// Whatever becomes of an event, a failure does not make it a duplicate.
func TestAnEventIsConfirmedOrReleasedByItsOutcome(t *testing.T) {
	down := errors.New("the store is down")
	for _, tt := range []struct {
		name     string
		store    noteStore
		whenDown middleware.DedupWhenDown
		returns  error
		handled  bool
		want     func(error) bool
		state    dedup.State
	}{
		{"what succeeds is confirmed", noteStore{}, 0, nil, true, func(err error) bool { return err == nil }, dedup.Handled},
		{"what is dropped too", noteStore{}, 0, router.Drop(io.EOF), true, isEOF, dedup.Handled},
		{"what fails is released", noteStore{}, 0, io.EOF, true, isEOF, dedup.Fresh},
		{"what is put off too", noteStore{}, 0, &middleware.LaterError{Err: io.EOF}, true, isEOF, dedup.Fresh},
		{"a duplicate is not handled", noteStore{state: dedup.Handled}, 0, nil, false,
			func(err error) bool { return err == middleware.ErrDuplicate }, dedup.Handled},
		{"what somebody has begun is put off", noteStore{state: dedup.Reserved}, 0, nil, false, isLater, dedup.Reserved},
		{"while the store is down an event waits", noteStore{fail: down}, middleware.DedupWait, nil, false, isLater, dedup.Fresh},
		{"or is handled, by policy", noteStore{fail: down}, middleware.DedupHandle, io.EOF, true, isEOF, dedup.Fresh},
	} {
		t.Run(tt.name, func(t *testing.T) {
			handled, told := false, 0
			h := middleware.Dedup("s", middleware.DedupPolicy{Store: &tt.store, WhenDown: tt.whenDown}, func(error) { told++ })(
				func(context.Context, schema.Event) error { handled = true; return tt.returns })
			err := h(t.Context(), schema.Event{ID: "1"})
			if handled != tt.handled || !tt.want(err) || tt.store.state != tt.state {
				t.Errorf("handled %v, %v, and the store has %v after %v", handled, err, tt.store.state, tt.store.asked)
			}
			if (told > 0) != (tt.store.fail != nil) {
				t.Errorf("the observer was told %d times", told)
			}
		})
	}
}

func isEOF(err error) bool { return errors.Is(err, io.EOF) }

func isLater(err error) bool {
	later := new(middleware.LaterError)
	return errors.As(err, &later) && later.After == middleware.DefaultDedupWait && later.Attempt == 0
}

func TestAnEventWhoseHandlerPanicsIsReleased(t *testing.T) {
	s := &noteStore{}
	h := middleware.Dedup("s", middleware.DedupPolicy{Store: s}, nil)(func(context.Context, schema.Event) error { panic("x") })
	func() {
		defer func() { _ = recover() }()
		_ = h(t.Context(), schema.Event{ID: "1"})
	}()
	if s.state != dedup.Fresh {
		t.Errorf("the store has %v after %v", s.state, s.asked)
	}
}

// A farStore is a store that is not of this process, in virtual time: it can be frozen, so that nothing but the deadline ends a call.
type farStore struct {
	*dedup.Memory
	frozen         atomic.Bool
	calls, renewed atomic.Int64
	onThaw         func()
}

func (s *farStore) answer(ctx context.Context) error {
	s.calls.Add(1)
	if !s.frozen.Load() {
		return nil
	}
	<-ctx.Done()
	return ctx.Err()
}

// Reserve executes when it thaws what it was asked while it was frozen, as a server does.
func (s *farStore) Reserve(ctx context.Context, scope, id string, token uint64, lease time.Duration) (dedup.State, error) {
	if err := s.answer(ctx); err != nil {
		s.onThaw = func() { _, _ = s.Memory.Reserve(context.WithoutCancel(ctx), scope, id, token, lease) }
		return dedup.Fresh, err
	}
	return s.Memory.Reserve(ctx, scope, id, token, lease)
}

func (s *farStore) Renew(ctx context.Context, scope, id string, token uint64, lease time.Duration) (bool, error) {
	if err := s.answer(ctx); err != nil {
		return false, err
	}
	s.renewed.Add(1)
	return s.Memory.Renew(ctx, scope, id, token, lease)
}

func (s *farStore) Confirm(ctx context.Context, scope, id string, window time.Duration) error {
	if err := s.answer(ctx); err != nil {
		return err
	}
	return s.Memory.Confirm(ctx, scope, id, window)
}

// A handler that takes ten leases has the event to itself all the time, and so has one whose store is away for half a lease.
func TestALeaseIsRenewedWhileTheHandlerRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &farStore{Memory: dedup.NewMemory(0)}
		var told []error
		var handled int
		h := middleware.Dedup("s", middleware.DedupPolicy{Store: s, Lease: time.Minute}, func(err error) { told = append(told, err) })(
			func(context.Context, schema.Event) error { handled++; time.Sleep(10 * time.Minute); return nil })
		done := make(chan error)
		go func() { done <- h(t.Context(), schema.Event{ID: "1"}) }()
		for range 19 {
			time.Sleep(30 * time.Second)
			if err := h(t.Context(), schema.Event{ID: "1"}); !isLater(err) {
				t.Fatalf("a copy gets %v while the event is being handled", err)
			}
		}
		if err := <-done; err != nil || handled != 1 || len(told) != 0 {
			t.Errorf("%v; handled %d times, %v", err, handled, told)
		}
		if n := s.renewed.Load(); n < 28 || n > 30 {
			t.Errorf("it was renewed %d times within 10 minutes", n)
		}
		time.Sleep(time.Hour)
		if n := s.renewed.Load(); n > 30 {
			t.Errorf("it is renewed after its end: %d times", n)
		}
		if err := h(t.Context(), schema.Event{ID: "1"}); !errors.Is(err, middleware.ErrDuplicate) {
			t.Errorf("afterwards a copy gets %v", err)
		}
	})
}

// A lease that was lost is told of.
func TestALostLeaseIsToldOf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &farStore{Memory: dedup.NewMemory(0)}
		var told []error
		h := middleware.Dedup("s", middleware.DedupPolicy{Store: s, Lease: time.Minute}, func(err error) { told = append(told, err) })(
			func(ctx context.Context, _ schema.Event) error {
				if err := s.Memory.Confirm(ctx, "s", "1", time.Hour); err != nil { // somebody else
					return err
				}
				time.Sleep(time.Hour)
				return nil
			})
		if err := h(t.Context(), schema.Event{ID: "1"}); err != nil || len(told) != 1 {
			t.Errorf("%v, told of %v", err, told)
		}
	})
}

// A store whose server is frozen holds up an event for the deadline, once; then one event a second asks it, and the others do not.
func TestAFrozenStoreIsAskedOnceASecond(t *testing.T) {
	for _, when := range []middleware.DedupWhenDown{middleware.DedupWait, middleware.DedupHandle} {
		synctest.Test(t, func(t *testing.T) {
			s := &farStore{Memory: dedup.NewMemory(0)}
			s.frozen.Store(true)
			handled, told := 0, 0
			h := middleware.Dedup("s", middleware.DedupPolicy{Store: s, WhenDown: when}, func(error) { told++ })(
				func(context.Context, schema.Event) error { handled++; return nil })
			begin := time.Now()
			for range 1000 {
				if err := h(t.Context(), schema.Event{ID: "1"}); isLater(err) != (when == middleware.DedupWait) {
					t.Fatalf("it gets %v", err)
				}
			}
			if took := time.Since(begin); took != middleware.DefaultDedupTimeout || s.calls.Load() != 1 {
				t.Errorf("1000 events took %v, and the store was asked %d times", took, s.calls.Load())
			}
			if want := map[middleware.DedupWhenDown]int{middleware.DedupHandle: 1000}[when]; handled != want || told != max(want, 1) {
				t.Errorf("%d were handled, and %d failures told of, want %d", handled, told, want)
			}
			s.frozen.Store(false)
			s.onThaw()
			time.Sleep(middleware.DefaultDedupWait)
			if err := h(t.Context(), schema.Event{ID: "1"}); err != nil || s.calls.Load() != 3 {
				t.Errorf("the next one gets %v after %d calls", err, s.calls.Load())
			}
			if err := h(t.Context(), schema.Event{ID: "1"}); !errors.Is(err, middleware.ErrDuplicate) {
				t.Errorf("its copy gets %v", err)
			}
		})
	}
}
