package bus

import (
	"errors"
	"log/slog"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/router"
	"github.com/eventbus-go/eventbus/router/middleware"
	"github.com/eventbus-go/eventbus/schema"
)

// errGoexit is the failure of a handler that ended its goroutine.
var errGoexit = errors.New("the handler called runtime.Goexit")

// A worker runs the chain of a subscription for one event after the other, on a goroutine of its own.
type worker struct {
	c       *consumer
	handler router.Handler // the chain, with the worker's watch in it
	watch   watch
	it      *item  // being handled, or nil. Guarded by sched.mu
	stray   *stray // what it is since its event was taken over; set under sched.mu before the watch says so
	probe   bool   // its event is to find out whether the breaker can close. Changed by itself, under sched.mu
}

// hire starts a worker, which does something else first where that is not nil. It is called with the lock held.
func (c *consumer) hire(first func()) {
	w := &worker{c: c}
	w.handler = router.Chain(w.withBreaker(w.watch.during(c.handler)), c.outer...)
	if c.crew == nil {
		c.crew = make(map[*worker]struct{})
	}
	c.crew[w] = struct{}{}
	c.workers.Add(1)
	go func() {
		if first != nil {
			first()
		}
		w.work()
	}()
}

// work handles items until there will be no more. A handler that ends the goroutine (a panic that no middleware caught,
// runtime.Goexit, t.FailNow in a test) ends this worker: its event fails, and another worker takes its place.
func (w *worker) work() {
	c, s := w.c, w.c.sched
	finished := false
	defer func() {
		if !finished {
			w.died(recover())
		}
	}()
	s.mu.Lock()
	s.waking = false
	for !w.watch.isLate() {
		it := s.next()
		if it == nil {
			break
		}
		if c.resolve(it) {
			continue
		}
		w.begin(it)
		s.mu.Unlock()
		o := w.handle(it)
		s.mu.Lock()
		w.finish(it, o)
	}
	w.leave()
	finished = true
	s.mu.Unlock()
}

// begin is called with the lock held.
func (w *worker) begin(it *item) {
	w.it, w.watch.first = it, w.watch.state.Load()
	w.pass(it)
	w.c.watchAttempts()
}

// finish is called with the lock held. What was taken over is somebody else's.
func (w *worker) finish(it *item, o outcome) {
	if o == outcomeLate {
		w.c.cameBack(w.stray)
		return
	}
	w.it = nil
	w.passed()
	w.c.finish(it, o)
}

// leave ends a worker, whose place a stray has lost already. It is called with the lock held.
func (w *worker) leave() {
	if w.stray == nil {
		delete(w.c.crew, w)
		w.c.workers.Done()
	}
}

// died settles the event of a worker whose goroutine ends, by a panic p or by runtime.Goexit.
func (w *worker) died(p any) {
	c, s := w.c, w.c.sched
	err := errGoexit
	if p != nil {
		c.bus.panicked("subscription "+c.name, p)
		err = errors.New("panic: " + middleware.PanicText(p))
	}
	o, it := outcomeFailed, w.item()
	switch {
	case !w.watch.abort():
		o = outcomeLate
	case it != nil:
		w.ended(err)
		_ = c.bus.contain("subscription "+c.name, func() { o = c.failed(it, err) })
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if it != nil || o == outcomeLate {
		w.finish(it, o)
	}
	if w.stray == nil {
		s.workers--
		s.wakeOne()
	}
	w.leave()
}

func (w *worker) item() *item {
	w.c.sched.mu.Lock()
	defer w.c.sched.mu.Unlock()
	return w.it
}

// resolve settles an item that needs no handler: one that comes too late, or a copy of one that was handled or is being
// handled. It is called with the lock held.
func (c *consumer) resolve(it *item) (resolved bool) {
	if c.ctx.Err() != nil || it.orphaned || c.sched.draining && (it.parked || c.sched.halted || c.keptFor(it)) {
		c.giveBack(it)
		if it.parked {
			c.letGo(it)
		} else {
			c.sched.done(it)
		}
		return true
	}
	if c.window == nil || it.bad != "" || it.parked {
		return false
	}
	duplicate, running := c.window.reserve(it)
	if running != nil {
		c.sched.follow(it, running)
		return true
	}
	if duplicate {
		c.counts.Duplicate++
		c.ack(it)
		c.sched.done(it)
	}
	return duplicate
}

// keptFor reports whether the broker keeps what is given back for the subscription's group, so that a shutdown need not wait for
// its handling.
func (c *consumer) keptFor(it *item) bool {
	return it.settler != nil && c.sub.Group != "" && it.feed.link.caps.Durable
}

// handle runs the chain, and the hooks that hold up a worker. It is called without the lock.
func (w *worker) handle(it *item) outcome {
	c := w.c
	c.begin(it)
	if it.bad != "" {
		c.malformed(it)
		return c.bury(it, it.badErr, outcomeHandled)
	}
	if o, decided := c.inLine(it); decided {
		return o
	}
	ctx := it.ctx
	if it.attempt > 1 {
		ctx = router.WithAttempt(ctx, it.attempt)
	}
	err := w.handler(ctx, it.event)
	switch {
	case w.watch.isLate():
		return outcomeLate
	case err == nil:
		c.leaveLine(it)
		return outcomeHandled
	default:
		return c.unhandled(it, err)
	}
}

// unhandled decides what an error of the chain means, and tells of it.
func (c *consumer) unhandled(it *item, err error) outcome {
	o := c.outcome(err)
	switch o {
	case outcomeFailed:
		if p := new(schema.PanicError); errors.As(err, &p) {
			c.notePanic(p.Value, p.Stack) // of the payload's own methods, contained by schema
		}
		o = c.failed(it, err)
	case outcomeLater, outcomePaused:
		errors.As(err, &it.later)
	case outcomeDuplicate:
		c.leaveLine(it)
	case outcomeDropped:
		c.leaveLine(it)
		c.note("dropped", slog.LevelInfo, "event dropped by its handler",
			attrsOf(it, LogAttempt, max(it.attempt, middleware.Attempts(err)), "err", err)...)
	}
	return o
}

type outcome uint8

const (
	outcomeHandled outcome = iota
	outcomeDropped
	outcomeInterrupted
	outcomeFailed
	outcomeDuplicate
	outcomeLater  // the next attempt is far away
	outcomeLate   // the event was taken over
	outcomeBehind // it waits in the dead letters, behind an earlier event of its key
	outcomePaused // it is ready again, behind the others
)

// outcome decides what an error of the chain means.
func (c *consumer) outcome(err error) outcome {
	var drop *router.DropError
	var later *middleware.LaterError
	var paused *pausedError
	switch {
	case errors.Is(err, middleware.ErrDuplicate):
		return outcomeDuplicate
	case errors.As(err, &paused) && errors.As(err, &later):
		return outcomePaused
	case errors.As(err, &later):
		return outcomeLater
	case errors.As(err, &drop):
		return outcomeDropped
	case errors.Is(err, middleware.ErrInterrupted), c.ctx.Err() != nil:
		return outcomeInterrupted
	default:
		return outcomeFailed
	}
}

// finish counts and settles an item by its outcome. It is called with the lock held.
func (c *consumer) finish(it *item, o outcome) {
	if o == outcomePaused {
		c.again(it)
		return
	}
	c.measure(it)
	if o == outcomeLater {
		c.putOff(it)
		return
	}
	c.settleItem(it, o)
	c.sched.done(it)
}

// settleItem counts and settles an item by its outcome, and lets it keep its place. It is called with the lock held.
func (c *consumer) settleItem(it *item, o outcome) {
	if it.buried {
		c.counts.DeadLettered++
	}
	if it.bad != "" && o == outcomeInterrupted {
		c.giveBack(it)
	} else if it.bad != "" {
		c.countMalformed(it)
	} else {
		c.conclude(it, o)
	}
}

func (c *consumer) conclude(it *item, o outcome) {
	switch o {
	case outcomeHandled:
		c.counts.Handled++
		c.ack(it)
	case outcomeDuplicate:
		c.counts.Duplicate++
		c.ack(it)
	case outcomeDropped:
		c.counts.drop(DropByHandler)
		c.ack(it)
	case outcomeFailed:
		c.counts.Failed++
		c.counts.InFlight--
		it.feed.settle(it.settler, brokers.Settlement{Token: it.token, Verdict: failedVerdict(it)})
	case outcomeBehind:
		c.counts.Behind++
		c.ack(it)
	case outcomeInterrupted:
		c.giveBack(it)
	}
	switch {
	case c.window == nil:
	case o == outcomeInterrupted:
		c.window.release(it.event.ID)
	case o == outcomeFailed, o == outcomeBehind:
		c.window.fail(it.event.ID, it.source())
	default:
		c.window.confirm(it.event.ID)
	}
}

// failedVerdict is ack for what is in the dead letters, so that it is there once.
func failedVerdict(it *item) brokers.Verdict {
	if it.buried {
		return brokers.Ack
	}
	return brokers.Terminate
}

// ack ends a delivery that is done with. Its caller counts it.
func (c *consumer) ack(it *item) {
	c.counts.InFlight--
	it.feed.settle(it.settler, brokers.Settlement{Token: it.token})
}

// giveBack returns an unhandled delivery to its broker, or drops it where the broker takes nothing back.
func (c *consumer) giveBack(it *item) {
	c.counts.InFlight--
	if it.settler == nil {
		c.counts.drop(DropShutdown)
		return
	}
	c.counts.Redelivered++
	it.feed.settle(it.settler, brokers.Settlement{Token: it.token, Verdict: brokers.Redeliver})
}

func (c *consumer) countMalformed(it *item) {
	if c.counts.Malformed == nil {
		c.counts.Malformed = make(map[brokers.Reason]int64)
	}
	c.counts.Malformed[it.bad]++
	c.ack(it)
}

func (s *SubscriptionStats) drop(r DropReason) {
	if s.Dropped == nil {
		s.Dropped = make(map[DropReason]int64)
	}
	s.Dropped[r]++
}

// malformed tells of a delivery that is not an event.
func (c *consumer) malformed(it *item) {
	c.note("malformed:"+string(it.bad), slog.LevelWarn, "not an event",
		"reason", string(it.bad), "channel", it.channel, "position", it.position, "bytes", it.full, "err", it.badErr)
	hook := c.bus.hooks.Malformed
	if hook == nil {
		return
	}
	_ = c.bus.contain("Malformed hook", func() {
		hook(Malformed{
			Subscription: c.name, Channel: it.channel, Position: it.position,
			Reason: it.bad, Body: it.body, Size: it.full, Err: it.badErr,
		})
	})
}

// failed tells of an event that its handler gave up on, and writes its dead letter.
func (c *consumer) failed(it *item, err error) outcome {
	e := &it.event
	attempts := middleware.Attempts(err)
	c.note("failed", slog.LevelError, "event failed", attrsOf(it, LogAttempt, attempts, "err", err)...)
	if hook := c.bus.hooks.Failed; hook != nil {
		_ = c.bus.contain("Failed hook", func() {
			hook(Failed{Subscription: c.name, Channel: it.channel, Event: *e, Attempts: attempts, Err: err})
		})
	}
	return c.bury(it, err, outcomeFailed)
}

// panicked is told of each panic of the handler, while it is being recovered.
func (c *consumer) panicked(p *middleware.PanicError) { c.notePanic(p.Value, p.Stack) }

func (c *consumer) notePanic(value any, stack []byte) {
	c.sched.mu.Lock()
	c.counts.Panics++
	c.sched.mu.Unlock()
	c.bus.logPanic("subscription "+c.name, value, stack)
}
