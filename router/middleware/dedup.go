package middleware

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/eventbus-go/eventbus/router"
	"github.com/eventbus-go/eventbus/schema"
	"github.com/eventbus-go/eventbus/store/dedup"
)

// The defaults of a DedupPolicy's fields.
const (
	DefaultDedupWindow  = 24 * time.Hour
	DefaultDedupLease   = time.Minute
	DefaultDedupTimeout = time.Second
	DefaultDedupWait    = time.Second // between two tries of a store that fails
)

// A DedupPolicy says how a subscription recognises events that it has handled, by their ids. The zero value does not.
type DedupPolicy struct {
	// Store remembers. In a bus, a policy that says anything else and has no Store has the bus's own, which Config.Dedup names.
	Store dedup.Store
	// Scope is whose events they are; empty means the subscription's name. Processes that share a store and a scope handle an
	// event once among them.
	Scope string
	// Window is how long a handled event is remembered. Default 24 h. A store may have a bound of its own.
	Window time.Duration
	// Lease is how long an event that was begun is held for a process that dies meanwhile: its event can be begun again then. It is
	// renewed while the handler runs. Default 1 minute. A store in the process needs none, and has none.
	Lease time.Duration
	// Timeout is how long the store may take for an answer, before it counts as failing. Default 1 s.
	Timeout time.Duration
	// WhenDown is what happens while the store fails. Default DedupWait.
	WhenDown DedupWhenDown
}

// Wanted reports whether the policy says anything, so that events are to be recognised.
func (p DedupPolicy) Wanted() bool {
	return p.Store != nil || p.Scope != "" || p.Window != 0 || p.Lease != 0 || p.Timeout != 0 || p.WhenDown != DedupWait
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

// errDown is the reason why an event is not asked for.
var errDown = errors.New("the store of handled events has just failed")

// Dedup calls the handler for an event that the store does not know, and confirms it as handled, or releases it, by what the
// handler returns: nil and router.Drop confirm, any other error releases, so that another attempt, a redelivery or a redrive is
// handled. It belongs outside of Retry. Of an event that was handled, the error is ErrDuplicate; of one that somebody has begun,
// and of every one while the store fails and WhenDown is DedupWait, it is a [*LaterError], as Retry with Later returns it.
//
// A handler that panics, or ends its goroutine, releases the event. Where the store fails after the handler has succeeded, the
// event counts as handled here, and a copy of it may be handled again once the lease has run out.
//
// A store that has failed is asked again a second later, by one event. failed is told of each failure of the store, and of each event
// that is handled without it, unless failed is nil; it is called concurrently.
func Dedup(scope string, p DedupPolicy, failed func(err error)) router.Middleware {
	d := newDeduper(scope, p, failed)
	return func(next router.Handler) router.Handler {
		return func(ctx context.Context, e schema.Event) error { return d.handle(ctx, e, next) }
	}
}

type deduper struct {
	DedupPolicy
	failed func(error)
	local  bool      // the store is in this process: it waits for nothing, and ends with the handlers
	begin  time.Time // downUntil is counted from here
	down   downFor   // how long the store is not asked
	doubts doubts
}

func newDeduper(scope string, p DedupPolicy, failed func(error)) *deduper {
	d := &deduper{DedupPolicy: p, failed: failed, begin: time.Now()}
	d.Scope = cmp.Or(d.Scope, scope)
	d.Window = cmp.Or(max(d.Window, 0), DefaultDedupWindow)
	d.Lease = cmp.Or(max(d.Lease, 0), DefaultDedupLease)
	d.Timeout = cmp.Or(max(d.Timeout, 0), DefaultDedupTimeout)
	if _, d.local = p.Store.(*dedup.Memory); d.local {
		d.Lease = dedup.Forever
	}
	return d
}

func (d *deduper) handle(ctx context.Context, e schema.Event, next router.Handler) error {
	if !d.down.mayAsk(d.begin) {
		return d.without(ctx, e, next, errDown)
	}
	if old, ok := d.doubts.take(e.ID); ok {
		d.release(ctx, e.ID, old)
	}
	token := rand.Uint64()
	state, err := d.reserve(ctx, e.ID, token)
	switch {
	case err != nil:
		d.down.failed(time.Since(d.begin))
		d.doubts.add(e.ID, token)
		if d.WhenDown == DedupWait {
			d.tell(err)
		}
		return d.without(ctx, e, next, err)
	case state == dedup.Handled:
		return ErrDuplicate
	case state == dedup.Reserved:
		return notNow(ctx, errReserved)
	}
	return d.begun(ctx, e, next, token)
}

func (d *deduper) reserve(ctx context.Context, id string, token uint64) (dedup.State, error) {
	ctx, cancel := d.limited(ctx)
	defer cancel()
	state, err := d.Store.Reserve(ctx, d.Scope, id, token, d.Lease)
	if err == nil {
		d.down.works()
	}
	return state, err
}

// without is what becomes of an event while the store fails.
func (d *deduper) without(ctx context.Context, e schema.Event, next router.Handler, err error) error {
	if d.WhenDown == DedupWait {
		return notNow(ctx, err)
	}
	d.tell(err)
	return next(ctx, e)
}

// begun handles an event that is reserved.
func (d *deduper) begun(ctx context.Context, e schema.Event, next router.Handler, token uint64) (err error) {
	handled := false
	lease := d.renewing(ctx, e.ID, token)
	defer func() { // also where the handler panics or ends its goroutine
		lease.end()
		if !handled {
			d.release(ctx, e.ID, token)
		}
	}()
	err = next(ctx, e)
	if isDone(err) {
		handled = true
		lease.end()
		d.confirm(ctx, e.ID)
	}
	return err
}

// isDone reports whether an event is not to be handled again, by what its handler has returned.
func isDone(err error) bool {
	if err == nil {
		return true
	}
	var drop *router.DropError
	return errors.As(err, &drop)
}

// confirm and release say what has happened, also where the handler's time is over.
func (d *deduper) confirm(ctx context.Context, id string) {
	ctx, cancel := d.limitedAfter(ctx)
	defer cancel()
	d.tell(d.Store.Confirm(ctx, d.Scope, id, d.Window))
}

func (d *deduper) release(ctx context.Context, id string, token uint64) {
	ctx, cancel := d.limitedAfter(ctx)
	defer cancel()
	d.tell(d.Store.Release(ctx, d.Scope, id, token))
}

// limited is a context for one answer of the store.
func (d *deduper) limited(ctx context.Context) (context.Context, context.CancelFunc) {
	if d.local {
		return ctx, noCancel
	}
	return context.WithTimeout(ctx, d.Timeout)
}

// limitedAfter is limited, also where ctx has ended.
func (d *deduper) limitedAfter(ctx context.Context) (context.Context, context.CancelFunc) {
	if d.local {
		return ctx, noCancel
	}
	return d.limited(context.WithoutCancel(ctx))
}

func noCancel() {}

func (d *deduper) tell(err error) {
	if d.failed == nil || err == nil {
		return
	}
	defer func() { _ = recover() }()
	d.failed(err)
}

// notNow puts an event off without an attempt.
func notNow(ctx context.Context, err error) error {
	return &LaterError{After: DefaultDedupWait, Attempt: router.Attempt(ctx) - 1, Err: err}
}

// A downFor keeps all but one event a second from asking a store that has failed.
type downFor struct{ until atomic.Int64 } // 0 while it works

// mayAsk reports whether the store is to be asked; the time is counted from begin.
func (f *downFor) mayAsk(begin time.Time) bool {
	until := f.until.Load()
	if until == 0 {
		return true
	}
	now := time.Since(begin)
	return int64(now) >= until && f.until.CompareAndSwap(until, int64(now+DefaultDedupWait))
}

func (f *downFor) failed(now time.Duration) { f.until.Store(int64(now + DefaultDedupWait)) }

func (f *downFor) works() {
	if f.until.Load() != 0 {
		f.until.Store(0)
	}
}

// doubts are the tokens of reservations whose answer did not come. Suppose a server is frozen, and an event waits since it could not be
// reserved: when the server goes on it executes the reservation, for which nobody waits any more, and the event would wait for its lease.
type doubts struct {
	some atomic.Bool
	mu   sync.Mutex
	of   map[string]uint64
}

// maxDoubts bounds them: an event that is not among them waits for a lease at most.
const maxDoubts = 1024

func (d *doubts) add(id string, token uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.of == nil {
		d.of = make(map[string]uint64)
	}
	if len(d.of) < maxDoubts {
		d.of[id] = token
	}
	d.some.Store(true)
}

func (d *doubts) take(id string) (token uint64, ok bool) {
	if !d.some.Load() {
		return 0, false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	token, ok = d.of[id]
	delete(d.of, id)
	d.some.Store(len(d.of) > 0)
	return token, ok
}
