package middleware

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/eventbus-go/eventbus/router"
	"github.com/eventbus-go/eventbus/schema"
	"github.com/eventbus-go/eventbus/store/dedup"
)

// The defaults of a DedupPolicy's fields.
const (
	DefaultDedupWindow = 24 * time.Hour
	DefaultDedupLease  = time.Minute
	DefaultDedupWait   = time.Second
)

// A DedupPolicy says how a subscription recognises events that it has handled, by their ids. The zero value does not.
type DedupPolicy struct {
	// Store remembers; nil means no deduplication.
	Store dedup.Store
	// Scope is whose events they are; empty means the subscription's name. Processes that share a store and a scope handle an
	// event once among them.
	Scope string
	// Window is how long a handled event is remembered. Default 24 h. A store may have a bound of its own.
	Window time.Duration
	// Lease is how long an event that was begun is held, for a process that dies meanwhile: its event can be begun again then.
	// It has to be longer than a handler takes with its retries in place. Default 1 minute.
	Lease time.Duration
	// WhenDown is what happens while the store fails. Default DedupWait.
	WhenDown DedupWhenDown
}

// DedupWhenDown is what happens to an event while its store fails. It is never skipped.
type DedupWhenDown uint8

// DedupWait tries again a second later, without handling it; DedupHandle handles it, perhaps a second time, and tells the observer.
const (
	DedupWait DedupWhenDown = iota
	DedupHandle
)

// ErrDuplicate is what Dedup returns of an event that was handled before: it is done with, and not to be handled.
var ErrDuplicate = errors.New("the event was handled before")

// errReserved is the reason why an event waits that somebody else has begun.
var errReserved = errors.New("the event is being handled elsewhere")

// Dedup calls the handler for an event that the store does not know, and confirms it as handled, or releases it, by what the
// handler returns: nil and router.Drop confirm, any other error releases, so that another attempt, a redelivery or a redrive is
// handled. It belongs outside of Retry. Of an event that was handled, the error is ErrDuplicate; of one that somebody has begun,
// and of every one while the store fails and WhenDown is DedupWait, it is a [*LaterError], as Retry with Later returns it.
//
// A handler that panics, or ends its goroutine, releases the event. Where the store fails after the handler has succeeded, the
// event counts as handled here, and a copy of it may be handled again once the lease has run out. failed is told of each failure of
// the store, unless it is nil; it is called concurrently.
func Dedup(scope string, p DedupPolicy, failed func(err error)) router.Middleware {
	d := &deduper{DedupPolicy: p, failed: failed}
	if d.Scope == "" {
		d.Scope = scope
	}
	if d.Window <= 0 {
		d.Window = DefaultDedupWindow
	}
	if d.Lease <= 0 {
		d.Lease = DefaultDedupLease
	}
	return func(next router.Handler) router.Handler {
		return func(ctx context.Context, e schema.Event) error { return d.handle(ctx, e, next) }
	}
}

type deduper struct {
	DedupPolicy
	failed func(error)
}

func (d *deduper) handle(ctx context.Context, e schema.Event, next router.Handler) error {
	token := rand.Uint64()
	state, err := d.Store.Reserve(ctx, d.Scope, e.ID, token, d.Lease)
	switch {
	case err != nil && d.WhenDown == DedupHandle:
		d.tell(err)
		return next(ctx, e)
	case err != nil:
		d.tell(err)
		return notNow(ctx, err)
	case state == dedup.Handled:
		return ErrDuplicate
	case state == dedup.Reserved:
		return notNow(ctx, errReserved)
	}
	return d.begun(ctx, e, next, token)
}

// begun handles an event that is reserved.
func (d *deduper) begun(ctx context.Context, e schema.Event, next router.Handler, token uint64) (err error) {
	handled := false
	defer func() { // also where the handler panics or ends its goroutine
		if !handled {
			d.release(ctx, e.ID, token)
		}
	}()
	err = next(ctx, e)
	if drop := new(router.DropError); err == nil || errors.As(err, &drop) {
		handled = true
		if failed := d.Store.Confirm(ctx, d.Scope, e.ID, d.Window); failed != nil {
			d.tell(failed)
		}
	}
	return err
}

func (d *deduper) release(ctx context.Context, id string, token uint64) {
	if err := d.Store.Release(ctx, d.Scope, id, token); err != nil {
		d.tell(err)
	}
}

func (d *deduper) tell(err error) {
	if d.failed == nil {
		return
	}
	defer func() { _ = recover() }()
	d.failed(err)
}

// notNow puts an event off without an attempt.
func notNow(ctx context.Context, err error) error {
	return &LaterError{After: DefaultDedupWait, Attempt: router.Attempt(ctx) - 1, Err: err}
}
