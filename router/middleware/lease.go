package middleware

import (
	"context"
	"errors"
	"sync"
	"time"
)

// errLeaseLost is what the observer is told of: somebody else may handle the event too.
var errLeaseLost = errors.New("the lease of an event ran out while it was being handled: it may be handled a second time")

// A renewal prolongs the lease of an event at each third of it, until its end. It has a timer and no goroutine: most handlers are done
// long before it is needed.
type renewal struct {
	d     *deduper
	id    string
	token uint64

	ctx    context.Context
	cancel context.CancelFunc

	mu    sync.Mutex // held while the store is asked
	timer *time.Timer
	ended bool
}

// renewing begins to renew; it returns nil for a store that needs it not.
func (d *deduper) renewing(ctx context.Context, id string, token uint64) *renewal {
	if d.local {
		return nil
	}
	r := &renewal{d: d, id: id, token: token}
	r.ctx, r.cancel = context.WithCancel(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.timer = time.AfterFunc(d.Lease/3, r.renew)
	return r
}

func (r *renewal) renew() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		return
	}
	ctx, cancel := r.d.limited(r.ctx)
	defer cancel()
	held, err := r.d.Store.Renew(ctx, r.d.Scope, r.id, r.token, r.d.Lease)
	switch {
	case r.ctx.Err() != nil:
		return
	case err != nil:
		r.d.tell(err) // and tried again
	case !held:
		r.d.tell(errLeaseLost)
		return
	}
	r.timer.Reset(r.d.Lease / 3)
}

// end stops the renewing, and waits for one that is under way. A second call does nothing.
func (r *renewal) end() {
	if r == nil {
		return
	}
	r.cancel()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = true
	r.timer.Stop()
}
