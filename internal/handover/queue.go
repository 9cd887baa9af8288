package handover

import (
	"slices"
	"sync"

	"github.com/eventbus-go/eventbus/brokers"
)

// atOnce is how many deliveries one call of Deliver has at most.
const atOnce = 512

// A Queue has what the sink has not seen yet. Its methods are safe for concurrent use; only one goroutine may call
// Feed.
type Queue struct {
	wake chan struct{} // has an element when there is something to take or the queue was closed

	mu      sync.Mutex
	pending []element
	closed  bool
}

// An element is a batch of deliveries or, where there is none, a mark: a gap, or that the subscription is ready.
type element struct {
	batch []brokers.Delivery
	gap   *brokers.Gap
	// emptied says that all of the batch was taken back.
	emptied bool
}

// New returns an empty queue.
func New() *Queue { return &Queue{wake: make(chan struct{}, 1)} }

// Put appends deliveries. The slice is the queue's from then on.
func (q *Queue) Put(batch []brokers.Delivery) {
	if len(batch) == 0 || q.join(batch) {
		return
	}
	for len(batch) > atOnce {
		q.put(element{batch: batch[:atOnce:atOnce]})
		batch = batch[atOnce:]
	}
	if len(batch) > 0 {
		q.put(element{batch: batch})
	}
}

// join appends a small batch to the one that waits last, so that a sink that is slow gets few large batches instead of many small
// ones.
func (q *Queue) join(batch []brokers.Delivery) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := len(q.pending)
	if n == 0 || len(q.pending[n-1].batch) == 0 || len(q.pending[n-1].batch)+len(batch) > atOnce {
		return false
	}
	q.pending[n-1].batch = append(q.pending[n-1].batch, batch...)
	return true
}

// Add appends one delivery.
func (q *Queue) Add(d brokers.Delivery) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if n := len(q.pending); n > 0 && len(q.pending[n-1].batch) > 0 && len(q.pending[n-1].batch) < atOnce {
		q.pending[n-1].batch = append(q.pending[n-1].batch, d)
		return
	}
	q.pending = append(q.pending, element{batch: []brokers.Delivery{d}})
	q.signal()
}

// Ready appends the news that the subscription was confirmed.
func (q *Queue) Ready() { q.put(element{}) }

// Gap appends a gap.
func (q *Queue) Gap(g brokers.Gap) { q.put(element{gap: &g}) }

func (q *Queue) put(e element) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.pending = append(q.pending, e)
	q.signal()
}

func (q *Queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// Close says that nothing will be put any more.
func (q *Queue) Close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.signal()
}

// TakeBack removes the deliveries that the sink has not seen, and returns their tokens.
func (q *Queue) TakeBack() (tokens []brokers.Token) {
	q.mu.Lock()
	defer q.mu.Unlock()
	var marks []element
	for _, e := range q.pending {
		if len(e.batch) == 0 {
			marks = append(marks, e)
		}
		for i := range e.batch {
			tokens = append(tokens, e.batch[i].Token)
		}
	}
	q.pending = marks
	return tokens
}

// TakeBackThose is TakeBack for the deliveries whose tokens which picks. It is called with the queue's lock held.
func (q *Queue) TakeBackThose(which func(brokers.Token) bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i := range q.pending {
		if e := &q.pending[i]; len(e.batch) > 0 {
			e.batch = slices.DeleteFunc(e.batch, func(d brokers.Delivery) bool { return which(d.Token) })
			e.emptied = len(e.batch) == 0
		}
	}
	q.pending = slices.DeleteFunc(q.pending, func(e element) bool { return e.emptied })
}

// take waits until there is something, and returns the first of it; false where the queue is closed and empty.
func (q *Queue) take() (element, bool) {
	for {
		q.mu.Lock()
		if len(q.pending) > 0 {
			e := q.pending[0]
			q.pending[0] = element{}
			q.pending = q.pending[1:]
			q.mu.Unlock()
			return e, true
		}
		q.pending = nil
		closed := q.closed
		q.mu.Unlock()
		if closed {
			return element{}, false
		}
		<-q.wake
	}
}

// Feed hands over what the queue has, in order, until it is closed and empty. Once late is closed it hands over no
// further deliveries: their owner gives them back.
func (q *Queue) Feed(sink brokers.Sink, late <-chan struct{}) {
	for {
		e, ok := q.take()
		switch {
		case !ok:
			return
		case e.gap != nil:
			sink.Gap(*e.gap)
		case len(e.batch) == 0:
			sink.Ready()
		default:
			select {
			case <-late:
			default:
				sink.Deliver(e.batch)
			}
		}
	}
}
