package bus

import (
	"context"
	"sync"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/router/middleware"
	"github.com/eventbus-go/eventbus/schema"
)

// An item is one delivery on its way to a handler.
type item struct {
	event   schema.Event
	key     string
	channel string
	bad     brokers.Reason // why it is not an event; empty for one
	badErr  error
	body    []byte // of one that is not an event, for the hook
	size    int    // of the body held

	full     int             // the full size of such a body
	attempt  int             // the number of the next attempt
	ctx      context.Context // of the handler
	began    time.Time       // when its handling began; zero where that is not measured
	parked   bool
	buried   bool                   // its dead letter is written, or waits to be
	orphaned bool                   // to be given back, since the one before it of its key does not end
	later    *middleware.LaterError // what the chain asked for
	history  []middleware.Attempted // the attempts before the next one, that failed
	position string
	feed     *feed
	settler  brokers.Settler
	token    brokers.Token

	next     *item  // in the ready queue
	lane     uint8  // of the ready queue
	trial    *trial // what it failed at under the breaker, or nil
	opened   uint32 // how often the breaker had been closed, and 1, when it last opened by this one; 0 for never
	readySeq uint64 // of when it became ready
	sameKey  *item  // the next of its key, which waits for this one
	hash     uint64 // of key, while it is in the table of keys
	chain    *item  // in that table
}

// A scheduler keeps the deliveries that wait for a handler, and the workers that run one. At most a bounded number of
// deliveries are held; those of one key become ready one after the other, in the order they came; everything else is
// ready at once. What is ready is taken by priority.
//
// Workers are woken one at a time, and a worker that takes an item while more are ready wakes the next. A handler that
// returns at once is so served by a worker or two, without a thundering herd; one that blocks has all of them within a few
// wake-ups.
type scheduler struct {
	maxItems, maxBytes, maxWorkers int
	spawn                          func()      // starts a worker
	lets                           func() bool // reports whether an item may be taken now; where not, wakeReady follows

	mu      sync.Mutex
	ready   readyQueue
	keys    keyTable // of what waits or runs
	items   int      // held: waiting or running
	bytes   int
	free    *item // for reuse
	ended   bool  // nothing more comes in, and workers end when nothing is left
	cut     bool  // the bounds are off, since nothing is handled any more
	workers int   // started and not ended
	idle    int   // of those, how many wait and were not woken
	waking  bool  // one was woken or started, and has not taken an item yet

	parked   map[*item]*time.Timer // held, and waiting for their next attempt
	draining bool                  // nothing is parked any more
	paused   int                   // for how many reasons no item is taken
	behind   int                   // how many wait for one of their key
	crowded  func()                // told that one does while nothing is ready; may be nil
	halted   bool                  // by Sub.Pause

	room sync.Cond
	work sync.Cond
}

// An itemQueue is first in, first out.
type itemQueue struct{ head, tail *item }

func (q *itemQueue) push(it *item) {
	it.next = nil
	if q.tail == nil {
		q.head = it
	} else {
		q.tail.next = it
	}
	q.tail = it
}

func (q *itemQueue) pop() *item {
	it := q.head
	if it == nil {
		return nil
	}
	if q.head = it.next; q.head == nil {
		q.tail = nil
	}
	it.next = nil
	return it
}

func newScheduler(maxItems, maxBytes, maxWorkers int, spawn func(), lets func() bool) *scheduler {
	s := &scheduler{
		maxItems: maxItems, maxBytes: maxBytes, maxWorkers: maxWorkers, spawn: spawn, lets: lets,
		keys: newKeyTable(),
	}
	s.room.L, s.work.L = &s.mu, &s.mu
	return s
}

// hasRoom is called with the lock held. A single item always fits.
func (s *scheduler) hasRoom(bytes int) bool {
	return s.items == 0 || s.items < s.maxItems && s.bytes+bytes <= s.maxBytes
}

// newItem returns an empty item. It is called with the lock held.
func (s *scheduler) newItem() *item {
	it := s.free
	if it == nil {
		return &item{}
	}
	s.free = it.next
	it.next = nil
	return it
}

// freeItem keeps an item for reuse. It is called with the lock held.
func (s *scheduler) freeItem(it *item) {
	*it = item{next: s.free}
	s.free = it
}

// add takes an item in: it becomes ready at once, or after the items of its key that came before. It is called with the
// lock held.
func (s *scheduler) add(it *item) {
	s.items++
	s.bytes += it.size
	if it.key == "" {
		s.makeReady(it)
		return
	}
	if last := s.keys.set(it); last != nil {
		last.sameKey = it
		s.behind++
		if s.crowded != nil && s.ready.empty() {
			s.crowded()
		}
		return
	}
	s.makeReady(it)
}

func (s *scheduler) makeReady(it *item) {
	s.ready.push(it)
	s.wakeOne()
}

// wakeOne gets one more worker going where there is one to be had, and none is on its way already.
func (s *scheduler) wakeOne() {
	switch {
	case s.waking, s.stands():
	case s.idle > 0:
		s.idle--
		s.waking = true
		s.work.Signal()
	case s.workers < s.maxWorkers:
		s.workers++
		s.waking = true
		s.spawn()
	}
}

// next waits for an item that is ready, and returns nil when there will be none. It is called by a worker with the lock
// held, and gives it up while it waits.
func (s *scheduler) next() *item {
	for {
		if it := s.take(); it != nil {
			s.wakeReady()
			return it
		}
		if s.ended && s.items == 0 {
			s.workers--
			return nil
		}
		s.idle++
		s.work.Wait()
		s.waking = false
	}
}

// take returns the next item that is ready; nil where there is none, or none is to be taken.
func (s *scheduler) take() *item {
	if s.stands() || s.ready.empty() || !s.lets() {
		return nil
	}
	return s.ready.pop()
}

// done lets go of an item that is settled: the next of its key becomes ready. It is called with the lock held.
func (s *scheduler) done(it *item) {
	s.items--
	s.bytes -= it.size
	s.releaseKey(it)
	s.freeItem(it)
	s.room.Signal()
	if s.ended && s.items == 0 {
		s.wakeAll()
	}
}

// follow makes an item that was taken wait for another one, which is running, as if they had one key. The key that it had
// goes on without it. It is called with the lock held.
func (s *scheduler) follow(it, running *item) {
	s.releaseKey(it)
	it.key, it.sameKey = running.key, nil
	s.keys.set(it).sameKey = it
	s.behind++
}

// releaseKey makes the next item of a key ready. It is called with the lock held.
func (s *scheduler) releaseKey(it *item) {
	switch {
	case it.key == "":
	case it.sameKey != nil:
		s.behind--
		it.sameKey.orphaned = it.orphaned
		s.makeReady(it.sameKey)
	default:
		s.keys.remove(it)
	}
}

func (s *scheduler) wakeAll() {
	s.idle = 0
	s.work.Broadcast()
}

// end says that nothing more comes in. Workers end once nothing is left.
func (s *scheduler) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	s.wakeAll()
}

// giveUp lets everything in, whatever the room: it is taken only to be given back.
func (s *scheduler) giveUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cut = true
	s.room.Broadcast()
}
