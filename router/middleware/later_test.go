package middleware_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eventbus-go/eventbus/router"
	"github.com/eventbus-go/eventbus/router/middleware"
	"github.com/eventbus-go/eventbus/schema"
)

// A long wait is the caller's, who hands the event over again with the number of the next attempt.
func TestWhatWaitsLongComesBackLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const s = time.Second
		p := middleware.Policy{Attempts: 5, InPlace: s, Backoff: middleware.Backoff{Min: s, Max: 3 * s, NoJitter: true}}
		a := &attempts{errs: []error{io.EOF, io.EOF, io.EOF, io.EOF, io.EOF}}
		h := middleware.Retry(p, middleware.Later())(a.handle)
		ctx, last := t.Context(), error(nil)
		var waits []time.Duration
		for {
			last = h(ctx, schema.Event{})
			later := new(middleware.LaterError)
			if !errors.As(last, &later) {
				break
			}
			waits = append(waits, later.After)
			ctx = router.WithAttempt(t.Context(), later.Attempt+1)
		}
		if want := []time.Duration{2 * s, 3 * s, 3 * s}; !slices.Equal(waits, want) {
			t.Errorf("it was put off by %v, want %v: the first wait of 1s is in place", waits, want)
		}
		if want := []int{1, 2, 3, 4, 5}; !slices.Equal(a.numbers, want) || middleware.Attempts(last) != 5 {
			t.Errorf("the attempts were %v, and the last error says %v", a.numbers, last)
		}
		if took := time.Since(a.start); took != s {
			t.Errorf("the worker was kept for %v, want 1s", took)
		}
	})
}

func TestRetryAfterIsPutOffToo(t *testing.T) {
	h := middleware.Retry(middleware.Policy{AnyOrder: true}, middleware.Later())(func(context.Context, schema.Event) error {
		return router.RetryAfter(io.EOF, time.Minute)
	})
	later := new(middleware.LaterError)
	if err := h(t.Context(), schema.Event{}); !errors.As(err, &later) || later.After != time.Minute || !later.AnyOrder {
		t.Errorf("got %v", err)
	}
}

func TestEachErrorHasItsPolicy(t *testing.T) {
	boom := func(error) bool { panic("a matcher's own problem") }
	p := middleware.Policy{
		Attempts: 4, Backoff: middleware.Backoff{Min: time.Second, Max: time.Second, NoJitter: true},
		Errors: []middleware.ErrorPolicy{
			{Match: boom},
			middleware.WhenIs(io.ErrUnexpectedEOF, middleware.Never),
			middleware.WhenAs[*fs.PathError](middleware.Policy{Attempts: 3, Backoff: middleware.Backoff{Min: time.Hour, NoJitter: true}}),
		},
	}
	if err := p.Validate(); err == nil {
		p.Errors[1].Policy.Errors = p.Errors
		if p.Validate() == nil {
			t.Error("policies within policies were accepted")
		}
		p.Errors[1].Policy.Errors = nil
	}
	path := &fs.PathError{Op: "open", Path: "x", Err: io.EOF}
	const s = time.Second
	for _, tt := range []struct {
		name string
		errs []error
		at   []time.Duration
	}{
		{"the policy of any other error", []error{io.EOF, io.EOF}, []time.Duration{0, s, 2 * s}},
		{"one that is never tried again", []error{io.EOF, io.ErrUnexpectedEOF}, []time.Duration{0, s}},
		{"one with waits of its own", []error{path, io.EOF}, []time.Duration{0, 10 * s, 11 * s}},
		{"the attempts are counted over all", []error{io.EOF, io.EOF, path}, []time.Duration{0, s, 2 * s}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := &attempts{errs: tt.errs}
				_ = middleware.Retry(p)(a.handle)(t.Context(), schema.Event{})
				if !slices.Equal(a.at, tt.at) {
					t.Errorf("called at %v, want %v", a.at, tt.at)
				}
			})
		})
	}
}

func TestAnErrorRemembersItsFirstAndItsLastAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := middleware.Policy{Attempts: 40, Backoff: middleware.Backoff{Min: time.Second, Max: time.Second, NoJitter: true}}
		start := time.Now()
		err := middleware.Retry(p)(func(context.Context, schema.Event) error { return io.EOF })(t.Context(), schema.Event{})
		var numbers []int
		for _, a := range middleware.History(err) {
			numbers = append(numbers, a.Number)
			if want := start.Add(time.Duration(a.Number-1) * time.Second); !a.At.Equal(want) || a.Err != io.EOF {
				t.Errorf("attempt %d is remembered at %v, want %v", a.Number, a.At, want)
			}
		}
		want := []int{1, 2, 3, 4, 5, 6, 7, 8, 33, 34, 35, 36, 37, 38, 39, 40}
		if !slices.Equal(numbers, want) {
			t.Errorf("it remembers %v, want %v", numbers, want)
		}
	})
}
