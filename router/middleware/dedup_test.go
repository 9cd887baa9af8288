package middleware_test

import (
	"context"
	"errors"
	"io"
	"testing"
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
