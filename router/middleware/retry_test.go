package middleware_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eventbus-go/eventbus/router"
	"github.com/eventbus-go/eventbus/router/middleware"
	"github.com/eventbus-go/eventbus/schema"
)

// attempts is a handler that fails with one error after the other and then succeeds; it notes when it was called, since
// start, and what router.Attempt said.
type attempts struct {
	errs    []error
	start   time.Time
	at      []time.Duration
	numbers []int
}

func (a *attempts) handle(ctx context.Context, _ schema.Event) error {
	if a.start.IsZero() {
		a.start = time.Now()
	}
	a.at = append(a.at, time.Since(a.start))
	a.numbers = append(a.numbers, router.Attempt(ctx))
	if n := len(a.at); n <= len(a.errs) {
		return a.errs[n-1]
	}
	return nil
}

var whole = middleware.WithRandom(func() float64 { return 1 })

func TestRetryDoesWhatTheErrorAsksFor(t *testing.T) {
	const s = time.Second
	policy := middleware.Policy{Attempts: 4, Backoff: middleware.Backoff{Min: s, Max: 3 * s, Factor: 2}}
	oops, permanent, drop := io.EOF, router.Permanent(io.EOF), router.Drop(io.EOF)
	for _, tt := range []struct {
		name   string
		policy middleware.Policy
		errs   []error
		at     []time.Duration
		text   string // "" means success
	}{
		{"success is left alone", policy, nil, []time.Duration{0}, ""},
		{"an error is tried again after the backoff", policy, []error{oops}, []time.Duration{0, s}, ""},
		{"the backoff grows", policy, []error{oops, oops, oops}, []time.Duration{0, s, 3 * s, 6 * s}, ""},
		{"until the attempts are used up", policy, []error{oops, oops, oops, oops}, []time.Duration{0, s, 3 * s, 6 * s},
			"after 4 attempts: EOF"},
		{"permanent is final", policy, []error{permanent}, []time.Duration{0}, "permanent: EOF"},
		{"also later, and wrapped", policy, []error{oops, fmt.Errorf("x: %w", permanent)}, []time.Duration{0, s},
			"after 2 attempts: x: permanent: EOF"},
		{"drop is final", policy, []error{drop}, []time.Duration{0}, "drop: EOF"},
		{"retry after waits at least that", policy, []error{router.RetryAfter(oops, 20*s)}, []time.Duration{0, 20 * s}, ""},
		{"or the backoff where it is longer", policy, []error{router.RetryAfter(oops, 1)}, []time.Duration{0, s}, ""},
		{"and counts as an attempt", middleware.Policy{Attempts: 2},
			[]error{router.RetryAfter(oops, s), router.RetryAfter(oops, s)}, []time.Duration{0, s},
			"after 2 attempts: retry after 1s: EOF"},
		{"it is waited for up to MaxWait", policy, []error{router.RetryAfter(oops, 300*s)}, []time.Duration{0, 300 * s}, ""},
		{"but not longer", policy, []error{router.RetryAfter(oops, 301*s)}, []time.Duration{0}, "retry after 5m1s: EOF"},
		{"MaxWait is the policy's", middleware.Policy{MaxWait: s}, []error{router.RetryAfter(oops, s+1)}, []time.Duration{0},
			"retry after 1.000000001s: EOF"},
		{"one attempt is no retry", middleware.Policy{Attempts: 1}, []error{oops}, []time.Duration{0}, "EOF"},
		{"a negative number counts as one", middleware.Policy{Attempts: -1}, []error{oops}, []time.Duration{0}, "EOF"},
		{"the zero value tries 3 times", middleware.Policy{}, []error{oops, oops, oops},
			[]time.Duration{0, s / 10, 3 * s / 10}, "after 3 attempts: EOF"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := &attempts{errs: tt.errs}
				err := middleware.Retry(tt.policy, whole)(a.handle)(t.Context(), schema.Event{})
				if !slices.Equal(a.at, tt.at) {
					t.Errorf("called at %v, want %v", a.at, tt.at)
				}
				if got := fmt.Sprint(err); got != tt.text && (err != nil || tt.text != "") {
					t.Errorf("got %q, want %q", got, tt.text)
				}
				if err != nil && !errors.Is(err, io.EOF) {
					t.Errorf("%v does not wrap the handler's error", err)
				}
				if n := middleware.Attempts(err); err != nil && n != len(tt.at) {
					t.Errorf("Attempts says %d, want %d", n, len(tt.at))
				}
				if errors.Is(err, middleware.ErrInterrupted) {
					t.Errorf("%v says that it was interrupted", err)
				}
			})
		})
	}
}

func TestTheContextTellsTheAttempt(t *testing.T) {
	for base, want := range map[int][]int{1: {1, 2, 3}, 4: {4, 5, 6}} {
		synctest.Test(t, func(t *testing.T) {
			a := &attempts{errs: []error{io.EOF, io.EOF}}
			ctx := router.WithAttempt(t.Context(), base)
			if err := middleware.Retry(middleware.Policy{Attempts: 6})(a.handle)(ctx, schema.Event{}); err != nil {
				t.Error(err)
			}
			if !slices.Equal(a.numbers, want) {
				t.Errorf("beginning at %d: got %v, want %v", base, a.numbers, want)
			}
		})
	}
}

func TestAnInterruptedRetrySaysSo(t *testing.T) {
	policy := middleware.Policy{Backoff: middleware.Backoff{Min: time.Hour, Max: time.Hour}}
	for _, tt := range []struct {
		name  string
		end   func(cancel, drain func())
		errs  []error
		took  time.Duration
		calls int
		want  bool
	}{
		{"the context ends during a wait", func(cancel, _ func()) { time.Sleep(time.Second); cancel() },
			[]error{io.EOF}, time.Second, 1, true},
		{"a drain begins during a wait", func(_, drain func()) { time.Sleep(time.Second); drain() },
			[]error{io.EOF}, time.Second, 1, true},
		{"a drain has begun", func(_, drain func()) { drain() }, []error{io.EOF}, 0, 1, true},
		{"the context has ended and the handler fails", func(cancel, _ func()) { cancel() }, []error{io.EOF}, 0, 1, true},
		{"but success is success", func(cancel, drain func()) { cancel(); drain() }, nil, 0, 1, false},
		{"and what is final is final", func(cancel, drain func()) { cancel(); drain() },
			[]error{router.Permanent(io.EOF)}, 0, 1, false},
		{"nothing ends", func(_, _ func()) {}, []error{io.EOF}, time.Hour, 2, false},
		{"a drain, and no attempt was left", func(_, drain func()) { time.Sleep(2*time.Hour - 1); drain() },
			[]error{io.EOF, io.EOF, router.RetryAfter(io.EOF, 0)}, 2*time.Hour - 1, 2, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				draining := make(chan struct{})
				ctx = router.WithDraining(ctx, draining)
				ended := make(chan struct{})
				go func() { defer close(ended); tt.end(cancel, func() { close(draining) }) }()
				synctest.Wait()
				a := &attempts{errs: tt.errs}
				start := time.Now()
				err := middleware.Retry(policy, whole)(a.handle)(ctx, schema.Event{})
				if took := time.Since(start); took != tt.took || len(a.at) != tt.calls {
					t.Errorf("returned after %v and %d calls, want %v and %d", took, len(a.at), tt.took, tt.calls)
				}
				if errors.Is(err, middleware.ErrInterrupted) != tt.want || tt.want && !errors.Is(err, io.EOF) {
					t.Errorf("got %v, want ErrInterrupted with the last error: %v", err, tt.want)
				}
				<-ended
			})
		})
	}
}

// Without a delay the timer is ready as soon as the drain is, and select picks at random.
func TestADrainWinsOverARetryWithoutDelay(t *testing.T) {
	draining := make(chan struct{})
	close(draining)
	ctx := router.WithDraining(t.Context(), draining)
	for range 100 {
		a := &attempts{errs: []error{io.EOF, io.EOF, io.EOF}}
		h := middleware.Retry(middleware.Policy{}, middleware.WithRandom(func() float64 { return 0 }))(a.handle)
		if err := h(ctx, schema.Event{}); !errors.Is(err, middleware.ErrInterrupted) || len(a.at) != 1 {
			t.Fatalf("got %v after %d calls, want it interrupted after one", err, len(a.at))
		}
	}
}

// An event whose last attempt was cut off by the end of the context is not known to be bad.
func TestALastAttemptThatTheEndOfTheContextCutOffIsInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	h := middleware.Retry(middleware.Policy{Attempts: 1})(func(ctx context.Context, _ schema.Event) error {
		cancel()
		return ctx.Err()
	})
	if err := h(ctx, schema.Event{}); !errors.Is(err, middleware.ErrInterrupted) || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want ErrInterrupted with the handler's error", err)
	}
}

func TestAttemptsUsedUpDuringADrainAreAFailure(t *testing.T) {
	draining := make(chan struct{})
	close(draining)
	ctx := router.WithDraining(t.Context(), draining)
	a := &attempts{errs: []error{io.EOF}}
	err := middleware.Retry(middleware.Policy{Attempts: 1})(a.handle)(ctx, schema.Event{})
	if err != io.EOF {
		t.Errorf("got %v, want the handler's error: no attempt was left to interrupt", err)
	}
}

func TestObserversSeeEachRetryAndNeverChangeTheSchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen []middleware.Retrying
		a := &attempts{errs: []error{io.EOF, io.EOF, io.EOF}}
		h := middleware.Retry(middleware.Policy{Backoff: middleware.Backoff{Min: time.Second}}, whole,
			middleware.OnRetry(func(r middleware.Retrying) { seen = append(seen, r); time.Sleep(700 * time.Millisecond) }),
			middleware.OnRetry(func(middleware.Retrying) { panic("an observer's own problem") }),
		)(a.handle)
		if err := h(t.Context(), schema.Event{ID: "7"}); !errors.Is(err, io.EOF) {
			t.Errorf("got %v", err)
		}
		if want := []time.Duration{0, time.Second, 3 * time.Second}; !slices.Equal(a.at, want) {
			t.Errorf("called at %v, want %v", a.at, want)
		}
		if len(seen) != 2 {
			t.Fatalf("observed %d retries, want 2", len(seen))
		}
		for i, r := range seen {
			if r.Attempt != i+1 || r.Err != io.EOF || r.Event.ID != "7" || r.Delay != time.Duration(i+1)*time.Second {
				t.Errorf("retry %d was observed as %+v", i+1, r)
			}
		}
	})
}

func TestTheJitterIsRandomByDefault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		delays := map[time.Duration]bool{}
		h := middleware.Retry(middleware.Policy{Attempts: 20},
			middleware.OnRetry(func(r middleware.Retrying) { delays[r.Delay] = true }),
		)(func(context.Context, schema.Event) error { return io.EOF })
		_ = h(t.Context(), schema.Event{})
		if len(delays) < 15 {
			t.Errorf("19 delays took %d values", len(delays))
		}
	})
}

func TestAPolicyThatCannotBeMeantIsRefused(t *testing.T) {
	for _, p := range []middleware.Policy{
		{Attempts: -1}, {MaxWait: -1}, {Backoff: middleware.Backoff{Min: -1}}, {Backoff: middleware.Backoff{Max: -1}},
		{Backoff: middleware.Backoff{Factor: 0.5}}, {Backoff: middleware.Backoff{Factor: math.NaN()}},
	} {
		if p.Validate() == nil {
			t.Errorf("%+v was accepted", p)
		}
	}
	for _, p := range []middleware.Policy{{}, {Attempts: 1, Backoff: middleware.Backoff{Factor: 1}}} {
		if err := p.Validate(); err != nil {
			t.Errorf("%+v was refused: %v", p, err)
		}
	}
}
