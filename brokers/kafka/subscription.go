package kafka

import (
	"container/heap"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
)

// defaultPrefetch is how many messages are unsettled at most where the subscription does not say.
const defaultPrefetch = 1000

// maxBatch is the most that a sink is given at once.
const maxBatch = 256

// A subscription is one call of Subscribe. Its partitions are set by the goroutine that keeps it a member of its group, or
// that looks for topics; its messages are fetched by a goroutine for each broker; the caller's goroutine feeds the sink.
type subscription struct {
	c        *conn
	spec     brokers.Subscription
	patterns []brokers.Pattern
	prefetch int
	fail     func(error) // ends the subscription

	ready  chan struct{} // closed once the broker has confirmed the subscription
	woken  chan struct{} // there may be something to deliver
	hungry chan struct{} // closed, and made anew, when there may be something to fetch; guarded by mu
	full   chan struct{} // has an element when so much is settled that it should be committed now
	idle   chan struct{} // closed, and made anew, when nothing is unsettled any more; guarded by mu

	mu      sync.Mutex
	parts   map[tp]*partition
	order   []*partition
	turn    int // the next partition to look at
	queue   []*entry
	delayed delayHeap
	timer   *time.Timer
	open    int // delivered and not settled
	bytes   int // fetched and not settled
	// uncommitted counts what was settled since the last commit: it comes again after a crash.
	uncommitted int
	// paused: nothing is delivered, since the group rebalances or the subscription ends; stopping: it ends.
	paused, stopping bool
	held             bool            // nothing is delivered, since nothing can be committed
	trouble          [troubles]error // what is tried again, see note
	gaps             []brokers.Gap
	batch            []brokers.Delivery // the feeding goroutine's
}

func (c *conn) newSubscription(spec brokers.Subscription) (*subscription, error) {
	if len(spec.Channels) == 0 {
		return nil, errors.New("a subscription needs at least one channel")
	}
	s := &subscription{
		c: c, spec: spec, prefetch: spec.Prefetch,
		ready: make(chan struct{}), woken: make(chan struct{}, 1), hungry: make(chan struct{}), idle: make(chan struct{}),
		full: make(chan struct{}, 1), parts: make(map[tp]*partition),
	}
	if s.prefetch <= 0 {
		s.prefetch = defaultPrefetch
	}
	for _, ch := range spec.Channels {
		p, err := brokers.ParsePattern(ch)
		if err != nil {
			return nil, badChannel{err}
		}
		s.patterns = append(s.patterns, p)
	}
	return s, nil
}

// literals are the channels without a wildcard: their topics are created.
func (s *subscription) literals() []string {
	var out []string
	for _, p := range s.patterns {
		if p.Literal() && !slices.Contains(out, p.String()) {
			out = append(out, p.String())
		}
	}
	return out
}

func (s *subscription) wants(topic string) bool { return matches(s.patterns, topic) }

func (s *subscription) unsettled() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open
}

// wake lets the feeding goroutine look again.
func (s *subscription) wake() {
	select {
	case s.woken <- struct{}{}:
	default:
	}
}

// wakeFetchers lets the fetching goroutines look again. s.mu is held.
func (s *subscription) wakeFetchers() {
	close(s.hungry)
	s.hungry = make(chan struct{})
}

// take returns what may be delivered now, and gaps to report before it. The batch is valid until the next call.
func (s *subscription) take() ([]brokers.Gap, []brokers.Delivery) {
	s.mu.Lock()
	defer s.mu.Unlock()
	gaps := s.gaps
	s.gaps = nil
	clear(s.batch)
	s.batch = s.batch[:0]
	if s.paused || s.held {
		return gaps, nil
	}
	hungry, picked := false, false
	for len(s.batch) < maxBatch && s.open < s.prefetch && s.uncommitted < s.c.set.maxUncommitted {
		e, fed := s.next(), false
		if e == nil {
			e, fed = s.pick()
			hungry, picked = hungry || fed, picked || e != nil
		}
		if e == nil {
			break
		}
		s.batch = append(s.batch, s.hand(e))
	}
	if picked {
		s.turn++ // suppose the same partition went on: one that is never empty would be the only one that is read
	}
	if hungry {
		s.wakeFetchers()
	}
	return gaps, s.batch
}

// next removes the next entry that is ready, or returns nil.
func (s *subscription) next() *entry {
	for len(s.queue) > 0 {
		e := s.queue[0]
		s.queue[0] = nil
		s.queue = s.queue[1:]
		if !e.p.dead && !e.p.hold(e) {
			return e
		}
	}
	return nil
}

// pick removes the next entry to deliver from the buffers, or returns nil. It also reports whether a partition has become
// hungry.
func (s *subscription) pick() (next *entry, hungry bool) {
	for range s.order {
		p := s.order[s.turn%len(s.order)]
		for len(p.buffer) > 0 && len(p.window) < s.c.set.maxAhead {
			e := p.buffer[0]
			p.buffer[0] = nil
			p.buffer = p.buffer[1:]
			before := p.bytes
			p.bytes -= e.size
			hungry = hungry || before >= fetchBytes/2 && p.bytes < fetchBytes/2 || len(p.buffer) == 0
			p.window = append(p.window, e)
			if !p.hold(e) {
				return e, hungry
			}
		}
		s.turn++
	}
	return nil, hungry
}

// hand makes e an unsettled delivery.
func (s *subscription) hand(e *entry) brokers.Delivery {
	e.state = out
	e.seq++
	e.attempt++
	s.open++
	return brokers.Delivery{
		Message: e.msg, Attempt: e.attempt, Position: position(e), Malformed: e.bad, Size: e.full,
		Token: brokers.Token{Ref: e, Seq: e.seq}, Settler: s,
	}
}

var errNotDelivered = errors.New("the delivery is not, or no longer, one of this subscription: its partition went to " +
	"another member of the group, or it was settled before")

// Settle settles at once and never waits. What is acked is committed every commit_interval, as far as everything before
// it in its partition is settled, and when the member leaves or the group rebalances: what was not committed when a
// process dies is delivered again. Deliveries that are not this member's any more are left alone and reported as one error.
func (s *subscription) Settle(_ context.Context, settlements []brokers.Settlement) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	stale := false
	for i := range settlements {
		e, ok := settlements[i].Token.Ref.(*entry)
		if !ok || s.parts[e.p.tp] != e.p || e.state != out || e.seq != settlements[i].Token.Seq {
			stale = true
			continue
		}
		s.settle(e, &settlements[i])
	}
	s.settledSome()
	if stale {
		return errNotDelivered
	}
	return nil
}

// settle ends one delivery. s.mu is held.
func (s *subscription) settle(e *entry, v *brokers.Settlement) {
	s.open--
	if v.Verdict != brokers.Redeliver {
		s.bytes -= e.size
		s.countSettled()
		s.enqueue(e.p.finish(e)...)
		return
	}
	e.p.block(e)
	if v.After <= 0 {
		s.enqueue(e)
		return
	}
	e.state, e.due = waiting, time.Now().Add(v.After)
	heap.Push(&s.delayed, e)
	if s.delayed[0] == e {
		s.setTimer(v.After)
	}
}

func (s *subscription) enqueue(es ...*entry) {
	for _, e := range es {
		e.state = ready
	}
	s.queue = append(s.queue, es...)
}

// settledSome tells whoever waits for deliveries to be settled. s.mu is held.
func (s *subscription) settledSome() {
	s.wake()
	s.wakeFetchers()
	s.checkIdle()
}

func (s *subscription) checkIdle() {
	if s.paused && s.open == 0 {
		close(s.idle)
		s.idle = make(chan struct{})
	}
}

// pause stops delivering.
func (s *subscription) pause() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.paused = true
}

// hold stops delivering while a broker that is away takes no commits, or goes on: what was fetched before would all come twice.
func (s *subscription) hold(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held == on {
		return
	}
	s.held = on
	s.wake()
}

// pauseForGood is pause, also after the next rebalance.
func (s *subscription) pauseForGood() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.paused, s.stopping = true, true
}

// settled returns what is closed once nothing is unsettled while the subscription is paused.
func (s *subscription) settled() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open == 0 {
		now := make(chan struct{})
		close(now)
		return now
	}
	return s.idle
}

// setTimer calls timerFired after d.
func (s *subscription) setTimer(d time.Duration) {
	if s.timer == nil {
		s.timer = time.AfterFunc(d, s.timerFired)
		return
	}
	s.timer.Reset(d)
}

// timerFired makes what is due ready. It runs in the timer's goroutine.
func (s *subscription) timerFired() {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for len(s.delayed) > 0 && !s.delayed[0].due.After(now) {
		e := heap.Pop(&s.delayed).(*entry)
		if !e.p.dead {
			s.enqueue(e)
		}
	}
	if len(s.delayed) > 0 {
		s.setTimer(time.Until(s.delayed[0].due))
	}
	s.wake()
}

// stop ends what would go on by itself.
func (s *subscription) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.paused = true
	if s.timer != nil {
		s.timer.Stop()
	}
	s.delayed = nil
}

// A delayHeap has the entries that wait, the next one first.
type delayHeap []*entry

func (h delayHeap) Len() int { return len(h) }
func (h delayHeap) Less(i, j int) bool {
	if h[i].due.Equal(h[j].due) {
		return h[i].offset < h[j].offset
	}
	return h[i].due.Before(h[j].due)
}
func (h delayHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }

// Push is heap.Interface's.
func (h *delayHeap) Push(x any) { *h = append(*h, x.(*entry)) }

// Pop is heap.Interface's.
func (h *delayHeap) Pop() any {
	old := *h
	e := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return e
}
