package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/time/rate"

	"github.com/eventbus-go/eventbus/router"
	"github.com/eventbus-go/eventbus/router/middleware"
	"github.com/eventbus-go/eventbus/schema"
)

// A gate stands between what is ready and the workers: a subscription's rate limit and its breaker. What is shut out keeps its place and
// no worker. It is guarded by the scheduler's lock.
type gate struct {
	limiter *rate.Limiter // or nil
	breaker *breaker      // or nil
	probing bool          // an event is being tried while the breaker is half open
	opens   time.Time     // when the breaker is half open
	timer   *time.Timer   // wakes a worker
	armed   time.Time     // for when; zero where it does not run

	changes []BreakerChange // to be told of
	telling bool            // somebody tells
}

// newGate returns nil where nothing is ever shut out.
func (c *consumer) newGate() (*gate, error) {
	b, err := newBreaker(c.sub.Breaker, c.bus.errors)
	l := c.sub.Rate.limiter()
	if b == nil && l == nil {
		return nil, err
	}
	return &gate{limiter: l, breaker: b}, err
}

// lets reports whether an item may be taken; where not, a worker is woken when one may. It is called with the lock held.
func (c *consumer) lets() bool {
	g := c.gate
	if g == nil || c.sched.draining {
		return true
	}
	if b := g.breaker; b != nil {
		switch b.state {
		case BreakerOpen:
			return false
		case BreakerHalfOpen:
			if g.probing {
				return false
			}
		}
	}
	if g.limiter == nil {
		return true
	}
	now := time.Now()
	wait := untilNext(g.limiter, now)
	if wait > 0 {
		c.wakeAt(now, wait)
	}
	return wait == 0
}

// wakeAt has a worker look again when a time has passed. It is called with the lock held.
func (c *consumer) wakeAt(now time.Time, wait time.Duration) {
	g := c.gate
	at := now.Add(wait)
	if !g.armed.IsZero() && !at.Before(g.armed) {
		return
	}
	g.armed = at
	if g.timer == nil {
		g.timer = time.AfterFunc(wait, c.wakeNow)
		return
	}
	g.timer.Reset(wait)
}

// wakeNow is the timer's: the breaker may be half open by now, or the rate lets an event pass.
func (c *consumer) wakeNow() {
	s, g := c.sched, c.gate
	s.mu.Lock()
	g.armed = time.Time{}
	b := g.breaker
	if b != nil && b.state == BreakerOpen && !s.draining {
		if wait := time.Until(g.opens); wait > 0 {
			c.wakeAt(time.Now(), wait)
		} else {
			b.state = BreakerHalfOpen
			c.breakerChanged(BreakerChange{From: BreakerOpen, To: BreakerHalfOpen})
		}
	}
	s.wakeReady()
	s.mu.Unlock()
	c.tellChanges()
}

// pass counts an item that is handed out. It is called with the lock held.
func (w *worker) pass(it *item) {
	g := w.c.gate
	if g == nil || it.bad != "" || w.c.sched.draining {
		return
	}
	if g.limiter != nil {
		g.limiter.AllowN(time.Now(), 1)
	}
	if b := g.breaker; b != nil && b.state == BreakerHalfOpen {
		w.probe, g.probing = true, true
	}
}

// passed is told that an item that was handed out is done with. It is called with the lock held.
func (w *worker) passed() {
	if w.probe {
		w.probe, w.c.gate.probing = false, false
		w.c.sched.wakeReady() // the next one tries, where this one has not found out
	}
}

// ended tells the breaker of an attempt that did not return. It is called without the lock.
func (w *worker) ended(err error) {
	if w.c.gate != nil && w.c.gate.breaker != nil {
		w.attempted(err, true)
	}
}

// A pausedError says that an attempt does not count, or was not made, since the breaker is open.
type pausedError struct{ err error }

var errOpen = errors.New("the breaker is open")

func (e *pausedError) Error() string { return fmt.Sprintf("%v: %v", errOpen, e.err) }

func (e *pausedError) Unwrap() error { return e.err }

// paused puts an event off without an attempt.
func paused(ctx context.Context, err error) error {
	return &middleware.LaterError{Attempt: router.Attempt(ctx) - 1, Err: &pausedError{err}}
}

// withBreaker wraps what is an attempt.
func (w *worker) withBreaker(next router.Handler) router.Handler {
	if w.c.gate == nil || w.c.gate.breaker == nil {
		return next
	}
	return func(ctx context.Context, e schema.Event) error {
		if w.isShutOut() {
			return paused(ctx, errOpen)
		}
		err := next(ctx, e)
		if w.watch.isLate() || err == nil && !w.probe {
			return err
		}
		switch w.attempted(err, err != nil && w.c.gate.breaker.counts(err)) {
		case rulingPutOff:
			return paused(ctx, err)
		case rulingGiveUp:
			return w.it.givenUp(time.Now(), err)
		default:
			return err
		}
	}
}

// isShutOut reports whether an event that was handed out before the breaker opened is to make no further attempt.
func (w *worker) isShutOut() bool {
	s, b := w.c.sched, w.c.gate.breaker
	s.mu.Lock()
	defer s.mu.Unlock()
	return b.state != BreakerClosed && !w.probe && !s.draining
}

// attempted is told of an attempt that failed, and of one that was to find out whether all is well again. It says what becomes of the
// event. counts says whether the failure counts.
func (w *worker) attempted(err error, counts bool) (r ruling) {
	s, b := w.c.sched, w.c.gate.breaker
	s.mu.Lock()
	switch {
	case s.draining || w.c.ctx.Err() != nil:
	case counts:
		r = w.c.breakerFailed(err, w.probe, w.it)
	case w.probe && b.state == BreakerHalfOpen:
		b.close()
		w.c.breakerChanged(BreakerChange{From: BreakerHalfOpen, To: BreakerClosed})
		s.wakeReady()
	}
	s.mu.Unlock()
	w.c.tellChanges()
	return r
}

// breakerFailed takes a failure in, and says what becomes of the item. It is called with the lock held.
func (c *consumer) breakerFailed(err error, probe bool, it *item) ruling {
	b, from, now := c.gate.breaker, c.gate.breaker.state, time.Now()
	if !b.fail(now, probe) {
		return b.rule(it, false, now)
	}
	r := b.rule(it, b.owns(it, from), now)
	c.gate.opens = now.Add(b.Pause)
	c.wakeAt(now, b.Pause)
	ch := BreakerChange{From: from, To: BreakerOpen, Err: err}
	if it != nil {
		ch.EventID = it.event.ID
	}
	if it != nil && it.trial != nil {
		ch.Trials, ch.Since = it.trial.failed, it.trial.first
	}
	c.breakerChanged(ch)
	return r
}

// breakerChanged notes a change, for tellChanges. It is called with the lock held.
func (c *consumer) breakerChanged(ch BreakerChange) {
	ch.Subscription = c.name
	c.gate.changes = append(c.gate.changes, ch)
}

// tellChanges tells of what has changed, in order: where somebody else is at it, that one does it. It is called without the lock.
func (c *consumer) tellChanges() {
	s, g := c.sched, c.gate
	s.mu.Lock()
	defer s.mu.Unlock()
	if g.telling {
		return
	}
	g.telling = true
	for len(g.changes) > 0 {
		ch := g.changes[0]
		g.changes = g.changes[1:]
		s.mu.Unlock()
		c.tellChange(ch)
		s.mu.Lock()
	}
	g.telling = false
}

func (c *consumer) tellChange(ch BreakerChange) {
	level, attrs := slog.LevelWarn, []any{"from", ch.From.String(), "to", ch.To.String()}
	if ch.To == BreakerOpen {
		level, attrs = slog.LevelError, append(attrs, "pause", c.gate.breaker.Pause, LogEventID, ch.EventID, "trials", ch.Trials, "err", ch.Err)
	}
	c.note("breaker:"+ch.To.String(), level, "breaker "+ch.To.String(), attrs...)
	if hook := c.bus.hooks.Breaker; hook != nil {
		_ = c.bus.contain("Breaker hook", func() { hook(ch) })
	}
}

// again makes an item ready that was put off without an attempt: behind all others that are ready, whatever its priority, so that they
// are tried before it.
// It is called with the lock held.
func (c *consumer) again(it *item) {
	later := it.later
	it.later = nil
	it.attempt, it.history = later.Attempt+1, middleware.JoinHistory(it.history, later.History)
	it.parked = true
	it.lane = uint8(readyLanes - 1)
	c.sched.makeReady(it)
}
