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

// work handles items until there will be no more. A handler that ends the goroutine (a panic that no middleware caught,
// runtime.Goexit, t.FailNow in a test) ends this worker: its event fails, and another worker takes its place.
func (c *consumer) work() {
	s := c.sched
	var it *item
	finished := false
	defer func() {
		if finished {
			return
		}
		err := errGoexit
		if p := recover(); p != nil {
			c.bus.panicked("subscription "+c.name, p)
			err = errors.New("panic: " + middleware.PanicText(p))
		}
		o := outcomeFailed
		if it != nil {
			o = c.failed(it, err)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if it != nil {
			c.finish(it, o)
		}
		s.workers--
		s.wakeOne()
	}()
	s.mu.Lock()
	s.waking = false
	for {
		if it = s.next(); it == nil {
			break
		}
		if c.resolve(it) {
			continue
		}
		s.mu.Unlock()
		o := c.handle(it)
		s.mu.Lock()
		c.finish(it, o)
	}
	finished = true
	s.mu.Unlock()
}

// resolve settles an item that needs no handler: one that comes too late, or a copy of one that was handled or is being
// handled. It is called with the lock held.
func (c *consumer) resolve(it *item) (resolved bool) {
	if c.ctx.Err() != nil || it.parked && c.sched.draining {
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

// handle runs the chain, and the hooks that hold up a worker. It is called without the lock.
func (c *consumer) handle(it *item) outcome {
	c.begin(it)
	if it.bad != "" {
		c.malformed(it)
		return c.bury(it, it.badErr, outcomeHandled)
	}
	ctx := it.ctx
	if it.attempt > 1 {
		ctx = router.WithAttempt(ctx, it.attempt)
	}
	err := c.handler(ctx, it.event)
	if err == nil {
		return outcomeHandled
	}
	return c.unhandled(it, err)
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
	case outcomeLater:
		errors.As(err, &it.later)
	case outcomeDropped:
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
	outcomeLater // the next attempt is far away
)

// outcome decides what an error of the chain means.
func (c *consumer) outcome(err error) outcome {
	var drop *router.DropError
	var later *middleware.LaterError
	switch {
	case errors.Is(err, middleware.ErrDuplicate):
		return outcomeDuplicate
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
	c.measure(it)
	if o == outcomeLater {
		c.putOff(it)
		return
	}
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
	c.sched.done(it)
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
	case outcomeInterrupted:
		c.giveBack(it)
	}
	switch {
	case c.window == nil:
	case o == outcomeInterrupted:
		c.window.release(it.event.ID)
	case o == outcomeFailed:
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
