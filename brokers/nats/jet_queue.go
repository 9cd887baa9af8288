package nats

import (
	"sync"

	"github.com/eventbus-go/eventbus/brokers"
)

// A jetQueue is what a member has received and its sink has not seen yet, in order. It is bounded by the member's
// prefetch: what is in it is leased.
type jetQueue struct {
	wake chan struct{} // has an element when there is something to take or the queue was closed

	mu      sync.Mutex
	pending []jetEntry
	closed  bool
}

// A jetEntry is a delivery, or a mark where mark is not nil.
type jetEntry struct {
	delivery brokers.Delivery
	mark     *mark
}

func newJetQueue() *jetQueue { return &jetQueue{wake: make(chan struct{}, 1)} }

func (q *jetQueue) put(e jetEntry) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.pending = append(q.pending, e)
	q.signal()
}

func (q *jetQueue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

func (q *jetQueue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.signal()
}

// takeBack removes the deliveries that the sink has not seen, and returns their tokens.
func (q *jetQueue) takeBack() (tokens []uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	var marks []jetEntry
	for _, e := range q.pending {
		if e.mark != nil {
			marks = append(marks, e)
		} else {
			tokens = append(tokens, e.delivery.Token.Seq)
		}
	}
	q.pending = marks
	return tokens
}

// take waits until there is something, and returns all of it; false where the queue is closed and empty.
func (q *jetQueue) take(spare []jetEntry) ([]jetEntry, bool) {
	for {
		q.mu.Lock()
		if len(q.pending) > 0 {
			taken := q.pending
			q.pending = spare[:0]
			q.mu.Unlock()
			return taken, true
		}
		closed := q.closed
		q.mu.Unlock()
		if closed {
			return nil, false
		}
		<-q.wake
	}
}

// feed hands over what the queue has, in order, until it is closed and empty.
func (q *jetQueue) feed(sink brokers.Sink) {
	var batch []brokers.Delivery
	flush := func() {
		if len(batch) > 0 {
			sink.Deliver(batch)
			clear(batch)
			batch = batch[:0]
		}
	}
	var spare []jetEntry
	for {
		entries, ok := q.take(spare)
		if !ok {
			return
		}
		for i := range entries {
			switch m := entries[i].mark; {
			case m == nil:
				if batch = append(batch, entries[i].delivery); len(batch) == deliverAtOnce {
					flush()
				}
			case m.ready:
				flush()
				sink.Ready()
			default:
				flush()
				sink.Gap(m.gap)
			}
		}
		flush()
		clear(entries)
		spare = entries
	}
}
