package overflow

import (
	"sync"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
)

// Limits bound what a queue holds.
type Limits struct {
	Messages int
	Bytes    int // of bodies
}

// A Queue is what was received and the sink has not seen yet. One goroutine puts, another one feeds.
//
// What was taken and not yet handed over still counts against the limits, so that they bound what is held altogether.
type Queue[M any] struct {
	limits Limits
	size   func(M) int   // of its body
	wake   chan struct{} // has an element when there is something to take or the queue was closed

	mu       sync.Mutex
	pending  []entry[M]
	spare    []entry[M] // the slice that was taken last, for reuse
	messages int        // held, marks not counted
	bytes    int        // of bodies, held
	closed   bool
}

// An entry is a message, or a mark where mark is not nil.
type entry[M any] struct {
	msg  M
	mark *mark
}

// A mark is something for the sink that is not a message.
type mark struct {
	ready bool
	gap   brokers.Gap
}

// New returns an empty queue; size is that of a message's body.
func New[M any](l Limits, size func(M) int) *Queue[M] {
	return &Queue[M]{limits: l, size: size, wake: make(chan struct{}, 1)}
}

// Put appends messages that were received by now, or counts them as missed where the limits are reached. A body that is
// over the limit alone is taken where nothing else waits: it would never come through otherwise. It keeps no reference to the
// slice.
func (q *Queue[M]) Put(msgs []M, now time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, m := range msgs {
		size := q.size(m)
		if q.messages >= q.limits.Messages || q.messages > 0 && q.bytes+size > q.limits.Bytes {
			q.putGap(brokers.Gap{Since: now, Until: now, Reason: brokers.GapOverflow, Missed: 1})
			continue
		}
		q.messages++
		q.bytes += size
		q.append(entry[M]{msg: m})
	}
}

// Ready appends the news that the subscription was confirmed.
func (q *Queue[M]) Ready() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.append(entry[M]{mark: &mark{ready: true}})
}

// Gap appends a gap.
func (q *Queue[M]) Gap(g brokers.Gap) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.putGap(g)
}

// putGap merges g into a gap of the same reason with no message in between, of which there is one for each reason at
// most. So a sink that blocks for hours makes no more marks than there are messages.
func (q *Queue[M]) putGap(g brokers.Gap) {
	for i := len(q.pending) - 1; i >= 0 && q.pending[i].mark != nil; i-- {
		old := &q.pending[i].mark.gap
		if old.Reason != g.Reason {
			continue
		}
		old.Until = g.Until
		if old.Missed >= 0 && g.Missed >= 0 {
			old.Missed += g.Missed
		}
		if g.Err != nil {
			old.Err = g.Err
		}
		return
	}
	q.append(entry[M]{mark: &mark{gap: g}})
}

func (q *Queue[M]) append(e entry[M]) {
	q.pending = append(q.pending, e)
	if len(q.pending) == 1 {
		q.signal()
	}
}

func (q *Queue[M]) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// Close says that nothing will be put any more.
func (q *Queue[M]) Close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.signal()
}

// take waits until there is something, and returns all of it; false where the queue is closed and empty. The slice that
// it returned before must not be used any more.
func (q *Queue[M]) take() ([]entry[M], bool) {
	for {
		q.mu.Lock()
		if len(q.pending) > 0 {
			taken := q.pending
			q.pending, q.spare = q.spare[:0], taken
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

// release says that messages with so many bytes were handed over.
func (q *Queue[M]) release(messages, bytes int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.messages -= messages
	q.bytes -= bytes
}
