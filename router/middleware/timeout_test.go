package middleware_test

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eventbus-go/eventbus/router"
	"github.com/eventbus-go/eventbus/router/middleware"
	"github.com/eventbus-go/eventbus/schema"
)

// within runs do as a handler with a timeout of d, in a bubble of virtual time. Leaving the bubble proves that no
// goroutine is left.
func within(t *testing.T, parent func(context.Context) context.Context, d time.Duration, do func(ctx context.Context) error) error {
	t.Helper()
	var err error
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		if parent != nil {
			ctx = parent(ctx)
		}
		err = middleware.Timeout(d)(func(ctx context.Context, _ schema.Event) error { return do(ctx) })(ctx, schema.Event{})
	})
	return err
}

func TestAHandlerThatHeedsItsContextTimesOut(t *testing.T) {
	var took time.Duration
	err := within(t, nil, time.Second, func(ctx context.Context) error {
		start := time.Now()
		<-ctx.Done()
		took = time.Since(start)
		return ctx.Err()
	})
	if !errors.Is(err, context.DeadlineExceeded) || !as[*middleware.TimeoutError](err) || took != time.Second {
		t.Errorf("got %v after %v, want a timeout after 1s", err, took)
	}
	if want := "timed out after 1s: context deadline exceeded"; err.Error() != want {
		t.Errorf("got the text %q, want %q", err, want)
	}
}

func TestAnErrorAfterTheDeadlineIsATimeoutAndKeepsTheError(t *testing.T) {
	for _, tt := range []struct {
		name string
		take time.Duration
		err  error
		want bool
	}{
		{"in time", 999 * time.Millisecond, io.EOF, false},
		{"late", time.Second, io.EOF, true},
		{"late, but it succeeded", time.Hour, nil, false},
		{"late and dropped", time.Hour, router.Drop(io.EOF), true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := within(t, nil, time.Second, func(context.Context) error { time.Sleep(tt.take); return tt.err })
			if got := as[*middleware.TimeoutError](err); got != tt.want || !errors.Is(err, tt.err) {
				t.Errorf("got %v, want a timeout: %v, wrapping %v", err, tt.want, tt.err)
			}
		})
	}
}

func TestErrFollowsTheClockWithoutDone(t *testing.T) {
	within(t, nil, time.Second, func(ctx context.Context) error {
		time.Sleep(time.Second - time.Nanosecond)
		if err := ctx.Err(); err != nil {
			t.Errorf("just before the deadline: %v", err)
		}
		time.Sleep(time.Nanosecond)
		if err := ctx.Err(); err != context.DeadlineExceeded {
			t.Errorf("at the deadline: %v", err)
		}
		if err := context.Cause(ctx); err != context.DeadlineExceeded {
			t.Errorf("the cause at the deadline: %v", err)
		}
		select {
		case <-ctx.Done():
		default:
			t.Error("Err has said that it ended, but Done is open")
		}
		return nil
	})
}

func TestWhoeverEndsTheContextFirstIsWhatErrSaysForEver(t *testing.T) {
	var cancel context.CancelCauseFunc
	parent := func(ctx context.Context) context.Context {
		ctx, cancel = context.WithCancelCause(ctx)
		return ctx
	}
	for name, ask := range map[string]func(context.Context){
		"Done was asked for": func(ctx context.Context) { ctx.Done() },
		"Done was not":       func(context.Context) {},
	} {
		t.Run(name, func(t *testing.T) {
			err := within(t, parent, time.Second, func(ctx context.Context) error {
				ask(ctx)
				cancel(io.EOF)
				synctest.Wait()
				if err, cause := ctx.Err(), context.Cause(ctx); err != context.Canceled || cause != io.EOF {
					t.Errorf("the parent was cancelled: Err is %v and the cause %v", err, cause)
				}
				time.Sleep(time.Minute)
				<-ctx.Done()
				if err := ctx.Err(); err != context.Canceled {
					t.Errorf("later the deadline passed, too: Err is %v", err)
				}
				return ctx.Err()
			})
			if as[*middleware.TimeoutError](err) || !errors.Is(err, context.Canceled) {
				t.Errorf("got %v, want no timeout where the parent had ended", err)
			}
		})
	}
}

func TestTheFirstEndThatWasSeenStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		parent, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		var kept context.Context
		h := middleware.Timeout(time.Hour)(func(ctx context.Context, _ schema.Event) error {
			kept = ctx
			time.Sleep(2 * time.Minute)
			return ctx.Err()
		})
		if err := h(parent, schema.Event{}); err != context.DeadlineExceeded || kept.Err() != err {
			t.Errorf("the parent's deadline was seen as %v, and as %v once the handler had returned", err, kept.Err())
		}
	})
	synctest.Test(t, func(t *testing.T) {
		parent, cancel := context.WithCancel(t.Context())
		defer cancel()
		h := middleware.Timeout(time.Second)(func(ctx context.Context, _ schema.Event) error {
			time.Sleep(time.Minute)
			before := ctx.Err()
			cancel()
			if after := ctx.Err(); before != context.DeadlineExceeded || after != before {
				t.Errorf("the deadline was seen as %v, and as %v once the parent was cancelled", before, after)
			}
			return nil
		})
		_ = h(parent, schema.Event{})
	})
}

func TestTheEarlierDeadlineCounts(t *testing.T) {
	for _, tt := range []struct{ parent, own, want time.Duration }{
		{time.Minute, time.Second, time.Second},
		{time.Second, time.Minute, time.Second},
	} {
		var release context.CancelFunc
		parent := func(ctx context.Context) context.Context {
			ctx, release = context.WithTimeout(ctx, tt.parent)
			return ctx
		}
		within(t, parent, tt.own, func(ctx context.Context) error {
			defer release()
			d, ok := ctx.Deadline()
			if left := time.Until(d); !ok || left != tt.want {
				t.Errorf("parent %v, own %v: the deadline is in %v (%v)", tt.parent, tt.own, left, ok)
			}
			time.Sleep(tt.want)
			synctest.Wait()
			if ctx.Err() != context.DeadlineExceeded {
				t.Errorf("parent %v, own %v: Err is %v after %v", tt.parent, tt.own, ctx.Err(), tt.want)
			}
			return nil
		})
	}
}

// The deadline of the parent is not the handler's time: an outer timeout reports it.
func TestTheParentsDeadlineIsNotATimeoutOfTheHandler(t *testing.T) {
	var release context.CancelFunc
	err := within(t, func(ctx context.Context) context.Context {
		ctx, release = context.WithTimeout(ctx, time.Second)
		return ctx
	}, time.Minute, func(ctx context.Context) error {
		defer release()
		<-ctx.Done()
		return ctx.Err()
	})
	if err != context.DeadlineExceeded {
		t.Errorf("got %v, want the handler's error as it is", err)
	}
}

type key struct{}

func TestValuesPassThrough(t *testing.T) {
	parent := func(ctx context.Context) context.Context { return context.WithValue(ctx, key{}, "v") }
	within(t, parent, time.Second, func(ctx context.Context) error {
		before := ctx.Value(key{})
		ctx.Done()
		if after := ctx.Value(key{}); before != "v" || after != "v" {
			t.Errorf("got %v, and %v once Done was asked for", before, after)
		}
		return nil
	})
}

func TestContextsDerivedFromItEndWithIt(t *testing.T) {
	within(t, nil, time.Second, func(ctx context.Context) error {
		child, cancel := context.WithTimeout(ctx, time.Hour)
		defer cancel()
		called := make(chan time.Time, 1)
		context.AfterFunc(ctx, func() { called <- time.Now() })
		start := time.Now()
		<-child.Done()
		if took := time.Since(start); took != time.Second || child.Err() != context.DeadlineExceeded {
			t.Errorf("a derived context ended after %v: %v", took, child.Err())
		}
		if took := (<-called).Sub(start); took != time.Second {
			t.Errorf("AfterFunc was called after %v", took)
		}
		if context.WithoutCancel(ctx).Err() != nil {
			t.Error("WithoutCancel has ended")
		}
		return nil
	})
}

func TestAShorterDerivedTimeoutDoesNotEndIt(t *testing.T) {
	within(t, nil, time.Second, func(ctx context.Context) error {
		child, cancel := context.WithTimeout(ctx, time.Millisecond)
		defer cancel()
		<-child.Done()
		if err := ctx.Err(); err != nil {
			t.Errorf("the parent ended with its child: %v", err)
		}
		return nil
	})
}

func TestTheContextIsCancelledWhenTheHandlerReturns(t *testing.T) {
	for name, ask := range map[string]func(context.Context){
		"Done was asked for": func(ctx context.Context) { ctx.Done() },
		"a context derived":  func(ctx context.Context) { context.AfterFunc(ctx, func() {}) },
		"nothing was":        func(context.Context) {},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var kept context.Context
				h := middleware.Timeout(time.Second)(func(ctx context.Context, _ schema.Event) error {
					kept = ctx
					ask(ctx)
					return nil
				})
				if err := h(t.Context(), schema.Event{}); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Hour)
				<-kept.Done()
				if err := kept.Err(); err != context.Canceled {
					t.Errorf("Err is %v, want context.Canceled", err)
				}
				child, cancel := context.WithCancel(kept)
				defer cancel()
				if <-child.Done(); child.Err() != context.Canceled {
					t.Errorf("a context derived later: %v", child.Err())
				}
			})
		})
	}
}

func TestTheContextMayBeAskedFromEverywhereAtOnce(t *testing.T) {
	parent, cancel := context.WithCancel(t.Context())
	for range 200 {
		h := middleware.Timeout(time.Hour)(func(ctx context.Context, _ schema.Event) error {
			var wg sync.WaitGroup
			for range 4 {
				wg.Go(func() { _, _ = ctx.Deadline(); _ = ctx.Err(); ctx.Done(); ctx.Value(key{}) })
			}
			defer wg.Wait()
			return ctx.Err()
		})
		if err := h(parent, schema.Event{}); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
}

func TestNoTimeoutIsNoWrapping(t *testing.T) {
	for _, d := range []time.Duration{0, -1} {
		h := middleware.Timeout(d)(func(ctx context.Context, _ schema.Event) error {
			if _, ok := ctx.Deadline(); ok {
				t.Errorf("a timeout of %d set a deadline", d)
			}
			return nil
		})
		if err := h(t.Context(), schema.Event{}); err != nil {
			t.Error(err)
		}
	}
}

func as[T error](err error) bool {
	var target T
	return errors.As(err, &target)
}
