package bus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/eventbus-go/eventbus/router"
	"github.com/eventbus-go/eventbus/router/middleware"
	"github.com/eventbus-go/eventbus/schema"
)

// DefaultStuckAfter is how long an attempt may go on after the end of its time before its handler is given up.
const DefaultStuckAfter = 30 * time.Second

// NeverStuck is the StuckPolicy.After of handlers that are waited for however long they take.
const NeverStuck time.Duration = -1

// A StuckPolicy says what becomes of a handler that ignores the end of its context. Nobody can end it: it is left behind, its event
// fails with a [*StuckError] and is dead-lettered as stuck, and another worker takes its place. The zero value is ready for use.
// [ParseStuckPolicy] reads one that is written as "30s, release key".
type StuckPolicy struct {
	// After is how long an attempt may go on once its time, which is the subscription's Timeout, is over; it is noticed within a
	// sixteenth of both together, or a second where that is shorter. Default DefaultStuckAfter; NeverStuck turns it off, and
	// NoTimeout does, too.
	After time.Duration
	// ReleaseKey lets the later events of the key go on at once. Without it they wait until the handler has returned, since it may
	// still be at work on the key, or until the shutdown, which gives them back.
	ReleaseKey bool
}

// ErrStuck is found by errors.Is in the error of an event whose handler was given up.
var ErrStuck = errors.New("the handler ignores the end of its context")

// A StuckError is the error of an event whose handler was given up, since it went on after the end of its context.
type StuckError struct {
	// After is how long it was waited for, the attempt's time included.
	After time.Duration
}

// Error says how long the handler was waited for.
func (e *StuckError) Error() string { return fmt.Sprintf("stuck: %v, for %v", ErrStuck, e.After) }

// Unwrap returns ErrStuck.
func (e *StuckError) Unwrap() error { return ErrStuck }

const (
	releaseKeyText = "release key"
	neverText      = "never"
)

// Text returns p as [ParseStuckPolicy] reads it.
func (p StuckPolicy) Text() string {
	if p.After < 0 {
		return neverText
	}
	after := cmp.Or(p.After, DefaultStuckAfter).String()
	if p.ReleaseKey {
		after += ", " + releaseKeyText
	}
	return after
}

// ParseStuckPolicy reads a policy: "never", or how long an attempt may go on after its time, "release key", or both, separated by a
// comma. Its error shows what cannot be read. [StuckPolicy.Text] is its inverse.
func ParseStuckPolicy(s string) (p StuckPolicy, err error) {
	if strings.TrimSpace(s) == neverText {
		return StuckPolicy{After: NeverStuck}, nil
	}
	for part := range strings.SplitSeq(s, ",") {
		part = strings.Join(strings.Fields(part), " ")
		d, err := time.ParseDuration(part)
		switch {
		case part == releaseKeyText && !p.ReleaseKey:
			p.ReleaseKey = true
		case err == nil && d > 0 && p.After == 0:
			p.After = d
		default:
			return StuckPolicy{}, fmt.Errorf(`stuck policy: %q cannot be read: write it as in "30s, release key", or never`, part)
		}
	}
	return p, nil
}

func (p StuckPolicy) check(timeout time.Duration) error {
	switch {
	case p.After < NeverStuck || p.After > 24*time.Hour:
		return fmt.Errorf("Stuck.After is %v: it goes up to 24h", p.After)
	case p.After > 0 && timeout < 0:
		return errors.New("Stuck.After counts from the end of Timeout, and there is none: set a Timeout, or leave Stuck.After out")
	}
	return nil
}

// bound is how long an attempt may take in all; 0 means for ever.
func (p StuckPolicy) bound(timeout time.Duration) time.Duration {
	if p.After < 0 || timeout <= 0 {
		return 0
	}
	return timeout + cmp.Or(p.After, DefaultStuckAfter)
}

// A watch is what others see of a worker's attempts. Its state is odd during an attempt, and another number for each, so that who
// looks at it from time to time sees how long one lasts, and the worker pays for no look at the clock. Who changes it from odd to
// leftBehind has taken the event over: the attempt's own change fails then.
type watch struct {
	state atomic.Uint64

	// What the last look has seen, guarded by the scheduler's lock.
	first uint64 // the state when the event was begun
	seen  uint64
	since time.Time
}

const leftBehind = ^uint64(0) - 1 // even: nobody can take it over again

// during wraps what is an attempt.
func (w *watch) during(next router.Handler) router.Handler {
	return func(ctx context.Context, e schema.Event) error {
		n := w.state.Load() + 1
		if n == leftBehind+1 {
			return errLate
		}
		w.state.Store(n)
		err := next(ctx, e)
		if !w.leave(n) {
			return errLate
		}
		return err
	}
}

// errLate is what the chain sees of an attempt that was given up: the event is not the worker's any more, and not to be tried again.
var errLate = router.Permanent(errors.New("the handler has returned after it was given up"))

// leave ends an attempt, and reports false where it was given up.
func (w *watch) leave(n uint64) bool { return w.state.CompareAndSwap(n, n+1) }

// isLate reports whether the worker's event was taken over.
func (w *watch) isLate() bool { return w.state.Load() == leftBehind }

// abort ends the attempt of a handler that has ended its goroutine, and reports false where it was given up.
func (w *watch) abort() bool {
	n := w.state.Load()
	return n != leftBehind && (n&1 == 0 || w.leave(n))
}

// lasts looks at the watch and returns how long it is known that the attempt lasts, and its state.
func (w *watch) lasts(now time.Time) (time.Duration, uint64) {
	n := w.state.Load()
	if n&1 == 0 || n != w.seen {
		w.seen, w.since = n, now
		return 0, n
	}
	return now.Sub(w.since), n
}

// watchAttempts has the workers looked at, for as long as one of them is at work. It is called with the lock held.
func (c *consumer) watchAttempts() {
	if c.bound <= 0 || c.watching {
		return
	}
	c.watching = true
	tick := min(max(c.bound/16, time.Millisecond), time.Second)
	if c.ticker != nil {
		c.ticker.Reset(tick)
		return
	}
	c.ticker = time.AfterFunc(tick, c.lookAtWorkers)
}

// unwatch ends the timers, so that they keep no bus that is closed.
func (c *consumer) unwatch() {
	c.sched.mu.Lock()
	defer c.sched.mu.Unlock()
	if c.ticker != nil {
		c.ticker.Stop()
	}
	if c.gate != nil && c.gate.timer != nil {
		c.gate.timer.Stop()
	}
}

// lookAtWorkers gives up the handlers that go on for too long.
func (c *consumer) lookAtWorkers() {
	s := c.sched
	s.mu.Lock()
	defer s.mu.Unlock()
	c.watching = false
	if c.ctx.Err() != nil { // a shutdown has passed its deadline: what has not returned is named by Close
		return
	}
	now, busy := time.Now(), false
	for w := range c.crew {
		if w.it == nil {
			continue
		}
		busy = true
		took, n := w.watch.lasts(now)
		if took >= c.bound && len(c.strays) < s.maxItems && w.watch.state.CompareAndSwap(n, leftBehind) {
			c.leaveBehind(w, n)
		}
	}
	if busy {
		c.watchAttempts()
	}
}

// A stray is a handler that was given up and has not returned.
type stray struct {
	left    HandlerLeft
	item    *item // that keeps its place before the later ones of its key; nil once it has let go of it
	settled bool
}

// leaveBehind puts another worker in the place of one whose handler does not return, and has it settle the event. It is called with
// the lock held.
func (c *consumer) leaveBehind(w *worker, n uint64) {
	it := w.it
	w.it = nil
	delete(c.crew, w)
	w.stray = &stray{item: it, left: leftOf(c, it)}
	if c.strays == nil {
		c.strays = make(map[*stray]bool)
	}
	c.strays[w.stray] = true
	c.counts.Stuck++
	var err error = &StuckError{After: c.bound}
	if attempt := max(it.attempt, 1) + int((n-w.watch.first)/2); attempt > 1 {
		err = &middleware.AttemptsError{Attempts: attempt, Err: err}
	}
	st, gone := w.stray, worker{c: c, probe: w.probe} // w itself is the stray's
	c.hire(func() {
		gone.ended(err)
		c.settleStuck(it, st, &gone, err)
	})
	c.workers.Done() // it is not waited for
}

// settleStuck ends the event of a stray, in the place of the worker that is gone.
func (c *consumer) settleStuck(it *item, st *stray, gone *worker, err error) {
	o := outcomeFailed
	_ = c.bus.contain("subscription "+c.name, func() { o = c.failed(it, err) })
	c.sched.mu.Lock()
	defer c.sched.mu.Unlock()
	gone.passed()
	c.measure(it)
	c.settleItem(it, o)
	st.settled = true
	if c.sub.Stuck.ReleaseKey || !c.strays[st] || c.sched.draining {
		c.forget(st)
	}
}

// cameBack notes that a stray has come back. Its outcome is ignored: the event is settled. It is called with the lock held.
func (c *consumer) cameBack(st *stray) {
	c.counts.Late++
	delete(c.strays, st)
	c.forget(st)
	c.note("late", slog.LevelWarn, "a handler has returned that had been given up: its result is ignored",
		LogEventID, st.left.EventID, LogEventType, st.left.EventType, LogChannel, st.left.Channel)
}

// forget lets the later events of a stray's key go on, once its event is settled; while it is still at work they go on to be given
// back, unless the policy releases the key. It is called with the lock held.
func (c *consumer) forget(st *stray) {
	if st.item == nil || !st.settled {
		return
	}
	st.item.orphaned = c.strays[st] && !c.sub.Stuck.ReleaseKey
	c.sched.done(st.item)
	st.item = nil
}

// drain says that nothing is to wait for a better moment any more: neither what is parked nor what waits behind a stray.
func (c *consumer) drain() {
	c.sched.mu.Lock()
	defer c.sched.mu.Unlock()
	c.sched.drain()
	for st := range c.strays {
		c.forget(st)
	}
}

// A HandlerLeft is a handler that had not returned when the bus was closed, or what is known of it.
type HandlerLeft struct {
	Subscription string
	// EventID, EventType and Channel are those of the event that it was given. They are empty where no handler runs, and something
	// else could not be finished: a settlement that the broker did not take, or a dead letter that could not be written.
	EventID, EventType, Channel string
	// Stuck says that the handler had been given up before: its event is settled.
	Stuck bool
}

// String names the subscription and the event.
func (h HandlerLeft) String() string {
	if h.EventID == "" {
		return h.Subscription
	}
	return h.Subscription + " (event " + h.EventID + ")"
}

func leftOf(c *consumer, it *item) HandlerLeft {
	return HandlerLeft{Subscription: c.name, EventID: it.event.ID, EventType: it.event.Type, Channel: it.channel}
}

// maxLeft bounds the handlers of a subscription that Close names.
const maxLeft = 100

// left names the handlers that have not returned, those that were given up included, up to a bound.
func (c *consumer) left() (left []HandlerLeft) {
	c.sched.mu.Lock()
	defer c.sched.mu.Unlock()
	for w := range c.crew {
		if w.it != nil && len(left) < maxLeft {
			left = append(left, leftOf(c, w.it))
		}
	}
	for st := range c.strays {
		if len(left) < maxLeft {
			st.left.Stuck = true
			left = append(left, st.left)
		}
	}
	if len(left) == 0 && c.counts.InFlight > 0 {
		left = append(left, HandlerLeft{Subscription: c.name})
	}
	slices.SortFunc(left, func(a, b HandlerLeft) int { return strings.Compare(a.EventID, b.EventID) })
	return left
}
