package memory

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
)

// maxBatch is the most that a sink is given at once.
const maxBatch = 256

// A member is one subscription. Its fields are guarded by broker.mu, except batch and filled, which are the Subscribe
// goroutine's.
type member struct {
	c                  *conn
	q                  *queue
	prefetch, maxBytes int

	open    list // what it has not settled
	stopped bool // fetches no more
	gone    bool
	idle    bool // waits on woken
	// woken says that there may be something to take, or that the last delivery of a stopped member is settled.
	woken chan struct{}
	batch []brokers.Delivery
	// filled is how many places of batch hold what was delivered.
	filled int
}

// Subscribe feeds sink on the calling goroutine. The contract is Conn's.
func (c *conn) Subscribe(ctx context.Context, s brokers.Subscription, sink brokers.Sink) error {
	if ctx.Err() != nil {
		return nil
	}
	m, gap, err := c.join(s)
	if err != nil {
		return err
	}
	defer m.quit()
	sink.Ready()
	if gap.Missed > 0 {
		sink.Gap(gap)
	}
	m.feed(ctx, sink)
	m.drain()
	return nil
}

// join makes a member of the subscription's queue, and returns what the queue has missed before.
func (c *conn) join(s brokers.Subscription) (*member, brokers.Gap, error) {
	c.b.mu.Lock()
	defer c.b.mu.Unlock()
	if c.closed {
		return nil, brokers.Gap{}, brokers.ErrClosed
	}
	q, err := c.b.join(s, c.bound)
	if err != nil {
		return nil, brokers.Gap{}, err
	}
	m := &member{
		c: c, q: q, prefetch: s.Prefetch, maxBytes: s.MaxBytes, open: list{q: q}, woken: make(chan struct{}, 1),
	}
	if m.prefetch <= 0 {
		m.prefetch = defaultPrefetch
	}
	q.members = append(q.members, m)
	c.members = append(c.members, m)
	var gap brokers.Gap
	if q.missed > 0 {
		gap = brokers.Gap{Since: q.missedSince, Until: time.Now(), Reason: brokers.GapOverflow, Missed: q.missed}
		q.missed = 0
	}
	return m, gap, nil
}

// feed delivers until ctx ends or the connection closes.
func (m *member) feed(ctx context.Context, sink brokers.Sink) {
	for ctx.Err() == nil {
		if batch := m.take(); len(batch) > 0 {
			sink.Deliver(batch)
			continue
		}
		clear(m.batch[:m.filled]) // an idle subscription keeps nothing
		m.filled = 0
		select {
		case <-m.woken:
		case <-ctx.Done():
		case <-m.c.closing:
			return
		}
	}
}

// drain waits until every delivery is settled or Close's deadline has passed.
func (m *member) drain() {
	for !m.stop() {
		select {
		case <-m.woken:
		case <-m.c.expired:
			return
		}
	}
}

// stop ends fetching and reports whether everything is settled.
func (m *member) stop() bool {
	m.q.b.mu.Lock()
	defer m.q.b.mu.Unlock()
	m.stopped = true
	return m.open.n == 0
}

// quit leaves, also where a sink panicked.
func (m *member) quit() {
	m.q.b.mu.Lock()
	defer m.q.b.mu.Unlock()
	m.leave()
	c := m.c
	if i := slices.Index(c.members, m); i >= 0 {
		c.members = slices.Delete(c.members, i, i+1)
	}
	if c.closed && len(c.members) == 0 {
		close(c.quiet)
	}
}

// leave gives what is unsettled back to the group; without a group, the queue ends. b.mu is held.
func (m *member) leave() {
	if m.gone {
		return
	}
	m.gone, m.stopped = true, true
	q := m.q
	if i := slices.Index(q.members, m); i >= 0 {
		q.members = slices.Delete(q.members, i, i+1)
	}
	var back []*entry
	for e := m.open.popFront(); e != nil; e = m.open.popFront() {
		e.out = false
		q.releaseKey(e)
		back = append(back, e)
	}
	if !q.group {
		q.b.remove(q)
		return
	}
	q.ready.prependSorted(back)
	q.wake()
	q.b.wakePublishers()
}

// take hands over what is ready and may be delivered. The batch is valid until the next call.
func (m *member) take() []brokers.Delivery {
	q := m.q
	q.b.mu.Lock()
	defer q.b.mu.Unlock()
	batch := m.batch[:0]
	for n := m.share(); n > 0; n-- {
		e := q.next(m)
		if e == nil {
			break
		}
		batch = append(batch, brokers.Delivery{})
		m.hand(e, &batch[len(batch)-1])
	}
	m.batch, m.filled = batch, max(m.filled, len(batch))
	m.idle = len(batch) == 0
	return batch
}

// share is how many m may take now: members of a group leave some to each other.
func (m *member) share() int {
	n := min(m.room(), maxBatch)
	if others := len(m.q.members); others > 1 {
		n = min(n, m.q.ready.n/others+1)
	}
	return n
}

func (m *member) room() int {
	if m.stopped || m.c.closed {
		return 0
	}
	return m.prefetch - m.open.n
}

// hand makes e an unsettled delivery of m.
func (m *member) hand(e *entry, d *brokers.Delivery) {
	e.out = true
	if e.member != m {
		e.member = m
	}
	e.generation++
	e.attempt++
	m.open.pushBack(e)
	e.msg.deliver(&d.Message)
	d.Attempt, d.Settler = int(e.attempt), m
	d.Token.Ref, d.Token.Seq = e, e.generation
	if n := len(e.msg.body); m.maxBytes > 0 && n > m.maxBytes {
		d.Malformed, d.Size, d.Body = brokers.ReasonTooLarge, n, e.msg.body[:m.maxBytes:m.maxBytes]
		d.Reading = nil
	}
}

// signal wakes the Subscribe goroutine.
func (m *member) signal() {
	select {
	case m.woken <- struct{}{}:
	default:
	}
}

var errNotDelivered = errors.New("the delivery is not, or no longer, one of this subscription's group")

// Settle settles at once and never waits. Deliveries that went back to the group, or were settled before, are left
// alone and reported as one error; all others are settled.
func (m *member) Settle(_ context.Context, settlements []brokers.Settlement) error {
	q := m.q
	q.b.mu.Lock()
	defer q.b.mu.Unlock()
	var again []*entry
	stale := false
	for i := range settlements {
		s := &settlements[i]
		e, ok := s.Token.Ref.(*entry)
		if !ok || e.queue != q || !e.out || e.generation != s.Token.Seq {
			stale = true
			continue
		}
		again = q.settle(e, s, again)
	}
	q.ready.prependSorted(again)
	q.wake()
	q.roomMade()
	if stale {
		return errNotDelivered
	}
	return nil
}

// settle ends a delivery. It appends to again what is to be delivered again at once.
func (q *queue) settle(e *entry, s *brokers.Settlement, again []*entry) []*entry {
	m := e.member
	e.out = false
	m.open.remove(e)
	q.releaseKey(e)
	if m.stopped && m.open.n == 0 {
		m.signal()
	}
	switch {
	case s.Verdict != brokers.Redeliver:
		q.drop(e)
	case s.After > 0:
		q.delay(e, time.Now().Add(s.After))
	default:
		again = append(again, e)
	}
	return again
}
