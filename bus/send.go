package bus

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/router/middleware"
)

// resend is the schedule by which a lane tries a broker again that cannot be reached. A second at most, so that delivery
// resumes within seconds of the broker's return.
var resend = middleware.Backoff{Min: 10 * time.Millisecond, Max: time.Second, Factor: 2}

// A sender takes batches out of a lane and hands them to the driver: it is the one place that resends. Its lane has one
// batch under way at a time, which is what keeps the order of the keys.
type sender struct {
	lane    *lane
	conn    brokers.Conn
	durable bool
	detour  *detour // conn, where the rules name a fallback
	panics  func(where string, p any)
	warn    func() // logs what the driver warns of; nil once it was called

	// abandon ends when Close's deadline has passed: what is then unsettled is given up.
	abandon context.Context

	limit callLimit
}

// A callLimit is the context of a driver's calls. A context with a deadline costs as much as sending a small batch, and
// allocates; so one is used for the calls of a quarter of the timeout, each of which has three quarters of it at least.
type callLimit struct {
	ctx         context.Context // nil at the beginning
	cancel      context.CancelFunc
	cancelSpent context.CancelFunc // of the context before
	until       time.Time          // no call begins with ctx from then on
}

// context returns the context of the next call. The one that it replaces ends with the next replacement, when the driver
// has nothing left that depends on it.
func (l *callLimit) context(parent context.Context, timeout time.Duration) context.Context {
	now := time.Now()
	if l.ctx != nil && now.Before(l.until) {
		return l.ctx
	}
	if l.cancelSpent != nil {
		l.cancelSpent()
	}
	l.cancelSpent = l.cancel
	l.ctx, l.cancel = context.WithDeadline(parent, now.Add(timeout))
	l.until = now.Add(timeout / 4)
	return l.ctx
}

// end ends the contexts. No call is under way, unless it was given up; the next one has a new context.
func (l *callLimit) end() {
	for _, cancel := range []context.CancelFunc{l.cancel, l.cancelSpent} {
		if cancel != nil {
			cancel()
		}
	}
	*l = callLimit{}
}

// run sends until the lane is closed and empty, or abandoned.
func (s *sender) run() {
	defer s.limit.end()
	b := &batch{}
	maxEvents := s.lane.batch.Messages
	for {
		ok, closed := s.lane.take(b, maxEvents)
		switch {
		case ok:
			maxEvents = s.settle(b)
			if s.warn != nil {
				s.warn() // the driver has met the broker by now
				s.warn = nil
			}
			if b.awaited {
				// Its callers were woken and most of them publish again: let them, so that they share the next batch.
				// Without this the first of them would have it for itself, and the others wait for a whole round trip.
				runtime.Gosched()
			}
			b.reset()
		case closed:
			return
		default:
			<-s.lane.wake // close wakes it too
		}
	}
}

// settle sends a batch until each of its messages has its outcome, and returns how many events the next batch may have.
// After an unknown outcome that is a single one, so that a frozen broker, where each batch costs a timeout and its
// messages, is probed with as little as possible.
func (s *sender) settle(b *batch) (nextMax int) {
	nextMax = s.lane.batch.Messages
	for attempt := 1; ; attempt++ {
		err, ended := s.publish(b)
		if err == nil {
			s.lane.taken(b, s.fellBack())
			return nextMax
		}
		again, unknown := s.account(b, err)
		if unknown {
			nextMax = 1
		}
		if ended {
			s.lane.taint(b)
		}
		if len(again) > 0 {
			b.keep(again)
			s.lane.rest(b)
			s.pause(attempt)
			s.lane.rest(nil)
		}
		if len(again) == 0 || len(b.msgs) == 0 { // those that paused may have been canceled
			s.lane.settled(b)
			return nextMax
		}
	}
}

// pause waits before a resend, or returns at once when the lane is abandoned.
func (s *sender) pause(attempt int) {
	t := time.NewTimer(resend.Delay(attempt, rand.Float64()))
	defer t.Stop()
	select {
	case <-t.C:
	case <-s.abandon.Done():
	}
}

// publish makes one call of the driver. ended says that the call's time was over, so that the client may still be reading.
func (s *sender) publish(b *batch) (err error, ended bool) {
	if s.abandon.Err() != nil {
		return brokers.FailAll(len(b.msgs), brokers.NotSent, ErrClosed), false
	}
	ctx := s.limit.context(s.abandon, s.lane.limits.SendTimeout)
	defer func() {
		if p := recover(); p != nil {
			s.panics("driver", p)
			err, ended = fmt.Errorf("driver panicked: %v", p), true
		}
		if ended {
			s.limit.end()
		}
	}()
	err = s.conn.Publish(ctx, b.msgs)
	return err, err != nil && ctx.Err() != nil
}

// account records the outcome of every message of a call that failed, and returns the indices of those to send again.
func (s *sender) account(b *batch, err error) (again []int, unknown bool) {
	l := s.lane
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fellBack = s.fellBack()
	var be *brokers.BatchError
	if !errors.As(err, &be) {
		be = brokers.FailAll(len(b.msgs), brokers.Unknown, err)
	}
	next := 0
	for _, f := range be.Failed {
		if f.Index < next || f.Index >= len(b.msgs) {
			continue // not in ascending order, or not a message of ours: brokertest catches such a driver
		}
		l.confirm(b, next, f.Index)
		next = f.Index + 1
		unknown = unknown || f.Outcome == brokers.Unknown
		if s.decide(b, f) {
			again = append(again, f.Index)
		}
	}
	l.confirm(b, next, len(b.msgs))
	return again, unknown
}

// decide settles a message that failed, or reports that it is to be sent again.
func (s *sender) decide(b *batch, f brokers.MessageError) (again bool) {
	ref := b.refs[f.Index]
	e := &b.entries[ref.entry]
	switch {
	case f.Outcome == brokers.Rejected:
		s.lane.reject(e, ref.channel, f.Err)
	case f.Outcome == brokers.Unknown && !s.sentToDurable():
		s.lane.giveUp(e, ref.channel, f.Outcome, DropUnconfirmed, f.Err)
	case s.abandon.Err() != nil:
		s.lane.giveUp(e, ref.channel, f.Outcome, DropClosed, f.Err)
	case e.canceled() != nil:
		s.lane.giveUp(e, ref.channel, f.Outcome, DropCanceled, fmt.Errorf("%w: %w", e.canceled(), f.Err))
	case e.call != nil && !s.retryable(f.Err):
		s.lane.giveUp(e, ref.channel, f.Outcome, DropNotSent, f.Err)
	default:
		return true
	}
	return false
}

// retryable reports whether waiting may cure err. A driver that panics does not know.
func (s *sender) retryable(err error) (again bool) {
	defer func() {
		if p := recover(); p != nil {
			s.panics("driver", p)
			again = true
		}
	}()
	return s.conn.Retryable(err)
}

// sentToDurable reports whether the broker of the last call is durable.
func (s *sender) sentToDurable() bool {
	if s.detour != nil {
		return s.detour.durable
	}
	return s.durable
}

// fellBack reports whether the last call was made of a fallback.
func (s *sender) fellBack() bool { return s.detour != nil && s.detour.fellBack }

// taken settles a batch whose every message the broker has taken. Its callers are woken when the lock is given up: they would
// only wait for it, and publish again.
func (l *lane) taken(b *batch, fellBack bool) {
	l.mu.Lock()
	l.fellBack = fellBack
	l.confirmed(len(b.msgs))
	l.releaseAll(b)
	l.mu.Unlock()
	b.confirm(0, len(b.msgs))
}

// confirm settles the messages from index from to before index to as taken by the broker. It is called with the lock held.
func (l *lane) confirm(b *batch, from, to int) {
	l.confirmed(to - from)
	b.confirm(from, to)
}

// confirmed counts n messages as taken by the broker. It is called with the lock held.
func (l *lane) confirmed(n int) {
	l.ledger.Confirmed += int64(n)
	if l.fellBack {
		l.ledger.FellBack += int64(n)
	}
	l.ledger.Queued -= int64(n)
}

// confirm tells the callers of the messages from index from to before index to that the broker has taken them.
func (b *batch) confirm(from, to int) {
	if !b.awaited {
		return
	}
	for _, ref := range b.refs[from:to] {
		if e := &b.entries[ref.entry]; e.call != nil {
			e.call.settle(e.slot+ref.channel, brokers.Confirmed, nil)
		}
	}
}

// reject settles one message as refused by the broker for good. It is called with the lock held.
func (l *lane) reject(e *entry, channel int, err error) {
	l.ledger.Rejected++
	l.ledger.Queued--
	l.report(DropRejected, e, e.channels[channel:channel+1], err)
	if e.call != nil {
		e.call.settle(e.slot+channel, brokers.Rejected, err)
	}
}

// giveUp settles one message as dropped. It is called with the lock held.
func (l *lane) giveUp(e *entry, channel int, state brokers.Outcome, reason DropReason, err error) {
	l.ledger.Queued--
	l.drop(reason, e, e.channels[channel:channel+1], err)
	if e.call != nil {
		e.call.settle(e.slot+channel, state, err)
	}
}

// settled gives back what the events of a batch held, once each of their messages has its outcome.
func (l *lane) settled(b *batch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.releaseAll(b)
}

// releaseAll gives back what the events of a batch held. It is called with the lock held.
func (l *lane) releaseAll(b *batch) {
	for i := range b.entries {
		l.release(&b.entries[i])
	}
	l.roomMade()
}
