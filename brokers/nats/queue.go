package nats

import (
	"sync"
	"time"

	natsgo "github.com/nats-io/nats.go"

	"github.com/eventbus-go/eventbus/brokers"
)

// A queue is what a subscription's reader has received and its sink has not seen yet, in order: messages and, between
// them, marks. One goroutine puts, another one takes. Putting never waits.
//
// What was taken and not yet released still counts against the limits, so that they bound what is held altogether.
type queue struct {
	limits limits
	wake   chan struct{} // has an element when there is something to take or the queue was closed

	mu       sync.Mutex
	pending  []entry
	spare    []entry // the slice that was taken last, for reuse
	messages int     // held, marks not counted
	bytes    int     // of bodies, held
	closed   bool
}

// An entry is a message, or a mark where mark is not nil.
type entry struct {
	msg  *natsgo.Msg
	mark *mark
}

// A mark is something for the sink that is not a message.
type mark struct {
	ready bool
	gap   brokers.Gap
}

func newQueue(l limits) *queue {
	return &queue{limits: l, wake: make(chan struct{}, 1)}
}

// put appends a message, or counts it as missed where the limits are reached. A body that is over the limit alone is
// taken where nothing else waits: it would never come through otherwise.
func (q *queue) put(m *natsgo.Msg, now func() time.Time) {
	e := entry{msg: m}
	q.mu.Lock()
	full := q.messages >= q.limits.messages || q.messages > 0 && q.bytes+len(e.msg.Data) > q.limits.bytes
	if full {
		at := now()
		q.putGap(brokers.Gap{Since: at, Until: at, Reason: brokers.GapOverflow, Missed: 1})
	} else {
		q.messages++
		q.bytes += len(e.msg.Data)
		q.append(e)
	}
	q.mu.Unlock()
}

// ready appends the news that the subscription was confirmed.
func (q *queue) ready() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.append(entry{mark: &mark{ready: true}})
}

// gap appends a gap.
func (q *queue) gap(g brokers.Gap) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.putGap(g)
}

// putGap merges g into a gap of the same reason with no message in between, of which there is one for each reason at
// most. So a sink that blocks for hours makes no more marks than there are messages.
func (q *queue) putGap(g brokers.Gap) {
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
	q.append(entry{mark: &mark{gap: g}})
}

func (q *queue) append(e entry) {
	q.pending = append(q.pending, e)
	if len(q.pending) == 1 {
		q.signal()
	}
}

func (q *queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// close says that nothing will be put any more.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.signal()
}

// take waits until there is something, and returns all of it; false where the queue is closed and empty. The slice that
// it returned before must not be used any more.
func (q *queue) take() ([]entry, bool) {
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
func (q *queue) release(messages, bytes int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.messages -= messages
	q.bytes -= bytes
}
