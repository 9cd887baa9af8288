package router

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/eventbus-go/eventbus/schema"
)

// A Handler handles one event. Handlers of one subscription run concurrently, never two for one key at once.
//
// What it returns is what it wants: nil settles the event; [Permanent] gives up on it now; [RetryAfter] tries again no sooner
// than a given time; [Drop] settles it and counts it as dropped; any other error is retried by the subscription's policy.
// The context carries the subscription's deadline for this attempt and is not cancelled by a shutdown that is still
// within its own deadline.
type Handler func(ctx context.Context, e schema.Event) error

// A Middleware wraps a handler. It is called once, when the subscription starts; what it returns is called for each event.
type Middleware func(next Handler) Handler

// Chain wraps h so that the first middleware is the outermost.
func Chain(h Handler, mw ...Middleware) Handler {
	for i := len(mw) - 1; i >= 0; i-- {
		h = mw[i](h)
	}
	return h
}

// A PermanentError says that trying again would not help. See [Permanent].
type PermanentError struct{ Err error }

// Error returns the text of the error it wraps.
func (e *PermanentError) Error() string { return "permanent: " + e.Err.Error() }

// Unwrap returns the error that Permanent was given.
func (e *PermanentError) Unwrap() error { return e.Err }

// A RetryAfterError asks for another attempt no sooner than After from now. See [RetryAfter].
type RetryAfterError struct {
	Err   error
	After time.Duration
}

// Error returns the text of the error it wraps and the delay asked for.
func (e *RetryAfterError) Error() string { return fmt.Sprintf("retry after %v: %v", e.After, e.Err) }

// Unwrap returns the error that RetryAfter was given.
func (e *RetryAfterError) Unwrap() error { return e.Err }

// A DropError says that the event is not wanted. See [Drop].
type DropError struct{ Err error }

// Error returns the text of the error it wraps.
func (e *DropError) Error() string { return "drop: " + e.Err.Error() }

// Unwrap returns the error that Drop was given.
func (e *DropError) Unwrap() error { return e.Err }

var errUnspecified = errors.New("no reason given")

// Permanent marks err as one that no retry can cure: the event fails now. A nil err still fails the event.
func Permanent(err error) error { return &PermanentError{orUnspecified(err)} }

// RetryAfter asks for another attempt no sooner than after from now; it counts as an attempt like any other. A nil err
// still asks for it; a negative after means 0.
func RetryAfter(err error, after time.Duration) error {
	return &RetryAfterError{orUnspecified(err), max(after, 0)}
}

// Drop settles the event without further attempts and counts it as dropped by its handler, with err as the reason.
func Drop(err error) error { return &DropError{orUnspecified(err)} }

func orUnspecified(err error) error {
	if err == nil {
		return errUnspecified
	}
	return err
}
