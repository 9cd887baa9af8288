package bus

import (
	"math"
	"strings"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/router/middleware"
)

// This file is what becomes of an event whose next attempt is far away. Its worker goes on with others:
//
//   - A broker that can delay a redelivery and promises no order gets the event back, with the delay. It holds the event, counts
//     the attempts, and delivers it to this subscription's group alone.
//   - Elsewhere the event is parked: it keeps its place at the head of its key, so that later events of the key wait behind it and
//     all others pass, and its place in the Prefetch. The policy's AnyOrder gives up the order: then the key goes on, and a broker
//     that can delay gets the event back.

// retryPolicy is the subscription's policy. What the broker holds is not bounded by what this process may hold.
func retryPolicy(p middleware.Policy, has brokers.Capabilities) middleware.Policy {
	if !has.Delay {
		return p
	}
	if has.Order == brokers.OrderNone || p.AnyOrder {
		p.MaxWait = math.MaxInt64
	}
	errs := p.Errors
	p.Errors = nil
	for _, e := range errs {
		e.Policy = retryPolicy(e.Policy, has)
		p.Errors = append(p.Errors, e)
	}
	return p
}

// putOff lets go of an item until its next attempt. It is called with the lock held.
func (c *consumer) putOff(it *item) {
	later := it.later
	it.later = nil
	failed := len(later.History) > 0 // else it was not tried, and the broker is not to count it
	if failed {
		c.counts.Retries++
	}
	it.attempt, it.history = later.Attempt+1, middleware.JoinHistory(it.history, later.History)
	has := it.feed.link.caps
	if failed && it.settler != nil && !it.isRedrive() && has.Delay && (has.Order == brokers.OrderNone || later.AnyOrder) {
		c.counts.InFlight--
		c.counts.Redelivered++
		c.past.keep(it)
		it.feed.settle(it.settler, brokers.Settlement{Token: it.token, Verdict: brokers.Redeliver, After: later.After})
		c.letGo(it)
		return
	}
	if !c.sched.park(it, later.After, later.AnyOrder) {
		c.giveBack(it)
		c.letGo(it)
	}
}

// letGo ends an item that was begun and is not handled here.
func (c *consumer) letGo(it *item) {
	if c.window != nil {
		c.window.release(it.event.ID)
	}
	c.sched.done(it)
}

// park holds an item until its time has come, out of the way of workers. It reports false where the subscription drains, so that
// nothing is to wait any more. It is called with the lock held.
func (s *scheduler) park(it *item, after time.Duration, anyOrder bool) bool {
	if s.draining {
		return false
	}
	if anyOrder && !it.parked {
		s.releaseKey(it)
		// A key of its own, behind which only copies of the event wait. It is kept at later attempts.
		it.key, it.sameKey = "\x00"+it.event.ID, nil
		s.keys.set(it)
	}
	it.parked = true
	var t *time.Timer
	t = time.AfterFunc(after, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.parked[it] == t { // else it was taken out in the meantime, and may be another one by now
			s.unpark(it)
		}
	})
	if s.parked == nil {
		s.parked = make(map[*item]*time.Timer)
	}
	s.parked[it] = t
	return true
}

// unpark makes a parked item ready, before the items that came later. It is called with the lock held.
func (s *scheduler) unpark(it *item) {
	s.parked[it].Stop()
	delete(s.parked, it)
	s.makeReady(it)
}

// drain takes out what is parked, to be given back. It is called with the lock held.
func (s *scheduler) drain() {
	s.draining = true
	for it := range s.parked {
		s.unpark(it)
	}
	s.wakeReady() // what a subscription holds that is halted, or shut out by its gate
}

// maxPast bounds what a subscription remembers of events that it gave back to the broker for a later attempt.
const maxPast = 4096

// A past remembers the attempts of events that are to come back. A broker counts deliveries, each of which may have been several
// attempts in place, and none of the errors; what is forgotten here, by a restart too, is the broker's count at least.
type past struct {
	known map[pastKey]pastAttempts
	order []pastKey
}

type pastKey struct{ id, channel string }

type pastAttempts struct {
	next    int
	history []middleware.Attempted
}

// keep remembers an item, and forgets the oldest one where there are too many.
func (p *past) keep(it *item) {
	if p.known == nil {
		p.known = make(map[pastKey]pastAttempts)
	}
	k := pastKey{strings.Clone(it.event.ID), it.channel} // the id may be part of a body
	if _, again := p.known[k]; !again {
		p.order = append(p.order, k)
	}
	p.known[k] = pastAttempts{it.attempt, it.history}
	for len(p.order) > 2*maxPast || len(p.known) > maxPast {
		delete(p.known, p.order[0])
		p.order = p.order[1:]
	}
}

// recall gives an item the attempts that it had before, and forgets them.
func (p *past) recall(it *item) {
	if len(p.known) == 0 {
		return
	}
	k := pastKey{it.event.ID, it.channel}
	if had, ok := p.known[k]; ok {
		it.attempt, it.history = max(it.attempt, had.next), had.history
		delete(p.known, k)
	}
}
