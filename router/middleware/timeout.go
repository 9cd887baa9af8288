package middleware

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/eventbus-go/eventbus/router"
	"github.com/eventbus-go/eventbus/schema"
)

// A TimeoutError is the error of a handler that failed once its time was over. errors.Is finds
// context.DeadlineExceeded in it as well as whatever the handler returned.
type TimeoutError struct {
	After time.Duration // the time the handler had
	Err   error         // what it returned
}

// Error returns the time and the text of the handler's error.
func (e *TimeoutError) Error() string { return fmt.Sprintf("timed out after %v: %v", e.After, e.Err) }

// Unwrap returns context.DeadlineExceeded and the handler's error.
func (e *TimeoutError) Unwrap() []error { return []error{context.DeadlineExceeded, e.Err} }

// Timeout gives each call of the handler a context that ends after d. An error that the handler returns after that is
// wrapped in a [*TimeoutError]; a handler that succeeds although it is late has succeeded. Timeout waits for the handler
// however long it takes: a deadline is a request, and to go on without the handler would mean two at work on one key.
// When the handler has returned, its context is cancelled.
//
// The context starts a timer only when somebody asks for its Done channel, so that a handler that never does pays for
// one small allocation and one look at the clock. A d of 0 or less means no timeout.
func Timeout(d time.Duration) router.Middleware {
	return func(next router.Handler) router.Handler {
		if d <= 0 {
			return next
		}
		return func(ctx context.Context, e schema.Event) error {
			c := &lazyContext{parent: ctx, end: uptime() + d}
			defer c.finish()
			err := next(c, e)
			if err != nil && c.late() {
				return &TimeoutError{After: d, Err: err}
			}
			return err
		}
	}
}

// A lazyContext is what context.WithTimeout makes, put off: until somebody asks for Done it is only a time that Err
// compares with the clock. The first Done makes the standard library's context, and everything is left to that from
// then on, including what package context asks for through Value to tie descendants to it without a goroutine.
//
// Err and Done must agree: once Err has said that the context has ended, it says so for ever, and a Done that is asked
// for later is closed. Suppose Err finds the parent cancelled, and the deadline passes after that: a context made at
// that moment could report either. So the first fate that anybody saw is kept, and there is one: whoever comes second
// takes what the first one set.
type lazyContext struct {
	parent context.Context
	end    time.Duration        // of the time that the handler has, by uptime
	fate   atomic.Pointer[fate] // nil for as long as nobody asked and it has not ended
}

// A fate is how a lazyContext ends: as timed does, or where timed is nil, it has ended already, by err.
type fate struct {
	timed  context.Context
	cancel context.CancelFunc
	err    error
}

var (
	cancelled = &fate{err: context.Canceled}
	expired   = &fate{err: context.DeadlineExceeded}

	// closed is the Done channel of a context that had ended before anybody asked.
	closed = func() chan struct{} {
		ch := make(chan struct{})
		close(ch)
		return ch
	}()
)

// began is where uptime counts from.
var began = time.Now()

// uptime is the time by the monotonic clock alone: reading it costs half of what time.Now does, and keeping it a third.
func uptime() time.Duration { return time.Since(began) }

// deadline is the end of the handler's time: always the same by the monotonic clock, and by the wall clock as it is now.
func (c *lazyContext) deadline() time.Time {
	now := time.Now()
	return now.Add(c.end - now.Sub(began))
}

// Deadline returns the end of the handler's time, or the parent's deadline where that is earlier.
func (c *lazyContext) Deadline() (time.Time, bool) {
	deadline := c.deadline()
	if d, ok := c.parent.Deadline(); ok && d.Before(deadline) {
		return d, true
	}
	return deadline, true
}

// Done starts the timer, unless the context has ended already.
func (c *lazyContext) Done() <-chan struct{} {
	f := c.look()
	if f == nil {
		timed, cancel := context.WithDeadline(c.parent, c.deadline())
		if f = c.settle(&fate{timed: timed, cancel: cancel}); f.timed != timed {
			cancel()
		}
	}
	if f.timed == nil {
		return closed
	}
	return f.timed.Done()
}

// Err says whether the context has ended, by the clock where no timer runs.
func (c *lazyContext) Err() error {
	switch f := c.look(); {
	case f == nil:
		return nil
	case f.timed == nil:
		return f.err
	default:
		return f.timed.Err()
	}
}

// Value returns the parent's value.
func (c *lazyContext) Value(key any) any {
	if f := c.fate.Load(); f != nil && f.timed != nil {
		return f.timed.Value(key)
	}
	return c.parent.Value(key)
}

// look returns the fate, having found out whether the context has ended by now where none was known; nil if it has not.
func (c *lazyContext) look() *fate {
	if f := c.fate.Load(); f != nil {
		return f
	}
	if err := c.parent.Err(); err != nil {
		return c.settle(&fate{err: err})
	}
	if uptime() >= c.end {
		return c.settle(expired)
	}
	return nil
}

// settle makes f the fate unless there is one already, and returns the one there is.
func (c *lazyContext) settle(f *fate) *fate {
	if c.fate.CompareAndSwap(nil, f) {
		return f
	}
	return c.fate.Load()
}

// late reports whether the handler's own time is over, as opposed to the parent's having ended.
func (c *lazyContext) late() bool {
	return c.Err() == context.DeadlineExceeded && uptime() >= c.end
}

// finish cancels the context and releases its timer, if it came to have one.
func (c *lazyContext) finish() {
	if f := c.settle(cancelled); f.cancel != nil {
		f.cancel()
	}
}
