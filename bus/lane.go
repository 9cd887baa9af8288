package bus

import (
	"context"
	"sync"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/schema"
)

// An entry is one queued event, bound for one or more channels of one broker.
type entry struct {
	id, typ, key string
	channels     []string
	body         []byte
	chunk        *chunk
	when         time.Time
	priority     schema.Priority
	keyInBody    bool // see brokers.Message
	dead         bool // given up while queued; it only waits to be passed over
	rest         *messageRest
	reading      *schema.Reading // for subscribers in the process; nil for none
	call         *call           // who waits for it; nil for Emit
	slot         int             // of its first channel in call
}

// messageRest is what only messages given to Send may carry.
type messageRest struct {
	headers   []brokers.Header
	notBefore time.Time
}

// canceled returns why nobody waits for the event any more; nil where somebody does, or nobody ever did.
func (e *entry) canceled() error {
	if e.call == nil {
		return nil
	}
	return e.call.canceled()
}

// A lane is a bounded queue of one broker that keeps the order of its keys: many publishers append under a short lock,
// one flusher takes batches out. While a batch is under way the next one forms, so that an idle bus sends at once and a
// busy one sends large batches, without a timer.
type lane struct {
	limits LaneConfig
	batch  brokers.Batch // of those that are taken out
	report dropReporter

	wake chan struct{} // tells the flusher that there is work, or that the lane closed

	mu       sync.Mutex
	queue    ring
	store    chunkStore
	events   int  // alive in queue or under way
	bytes    int  // of those
	asleep   bool // the flusher waits to be woken
	rouse    bool // it is to be woken when the lock is given up
	closed   bool
	fellBack bool          // the call that is being accounted for went to the fallback
	resting  *batch        // the batch that waits to be sent again, if one does
	waiting  int           // publishers that wait for room
	room     chan struct{} // closed when there may be room, then replaced
	ledger   Ledger
}

// A dropReporter tells the outside of drops. It is called with a lane's lock held: it never blocks, and copies what it
// keeps of the event.
type dropReporter func(reason DropReason, e *entry, channels []string, err error)

func newLane(limits LaneConfig, size brokers.Batch, report dropReporter) *lane {
	return &lane{
		limits: limits, batch: size, report: report, wake: make(chan struct{}, 1), room: make(chan struct{}),
		store: chunkStore{spare: size.Bytes / chunkBytes},
	}
}

// emit queues an event or drops one by the lane's policy. Only the policy Block waits.
func (l *lane) emit(ctx context.Context, p *packed, body []byte) error {
	l.mu.Lock()
	defer l.unlock()
	if !l.closed && !l.makeRoom(p.priority, len(body)) && l.limits.WhenFull == Block {
		t := time.NewTimer(l.limits.BlockFor)
		l.waitRoom(ctx, len(body), t.C)
		t.Stop()
	}
	switch {
	case l.closed:
		return ErrClosed
	case !l.fits(len(body)):
		l.ledger.Accepted += int64(len(p.channels))
		e := entry{body: body}
		p.fill(&e)
		l.drop(DropLaneFull, &e, e.channels, nil)
	default:
		l.put(p, body, nil, 0)
	}
	return nil
}

// publish queues an event whose caller waits: it waits for room until ctx or the limit ends.
func (l *lane) publish(ctx context.Context, limit <-chan time.Time, p *packed, body []byte, c *call, slot int) error {
	l.mu.Lock()
	defer l.unlock()
	if !l.closed && !l.makeRoom(p.priority, len(body)) {
		l.waitRoom(ctx, len(body), limit)
	}
	switch {
	case l.closed:
		return ErrClosed
	case !l.fits(len(body)) && ctx.Err() == nil:
		return errPublishTimeout
	case !l.fits(len(body)):
		return context.Cause(ctx)
	}
	l.put(p, body, c, slot)
	return nil
}

// put appends an event that fits, and has the flusher woken. It is called with the lock held.
func (l *lane) put(p *packed, body []byte, c *call, slot int) {
	e := l.queue.push()
	p.fill(e)
	e.chunk, e.body = l.store.put(p.priority, body)
	e.call, e.slot = c, slot
	l.events++
	l.bytes += len(body)
	l.ledger.Accepted += int64(len(p.channels))
	l.ledger.Queued += int64(len(p.channels))
	l.rousing()
}

// rousing has the flusher woken when the lock is given up, where it is asleep.
func (l *lane) rousing() {
	l.rouse = l.rouse || l.asleep
	l.asleep = false
}

// unlock gives up the lock and then wakes the flusher, if it has to be: a wake-up takes longer than all that is done under
// the lock, and the flusher would wait for the lock first.
func (l *lane) unlock() {
	wake := l.rouse
	l.rouse = false
	l.mu.Unlock()
	if wake {
		select {
		case l.wake <- struct{}{}:
		default:
		}
	}
}

func (l *lane) fits(bytes int) bool {
	return l.events < l.limits.MaxEvents && (l.bytes+bytes <= l.limits.MaxBytes || l.events == 0)
}

// makeRoom reports whether an event of the given size fits, after it has evicted what the policy allows.
func (l *lane) makeRoom(p schema.Priority, bytes int) bool {
	for !l.fits(bytes) {
		if l.limits.WhenFull != DropLowest {
			return false
		}
		victim := l.queue.oldestBelow(p)
		if victim == nil {
			return false
		}
		l.kill(victim, DropEvicted, nil)
	}
	return true
}

// waitRoom waits until an event of the given size fits, the lane closes, or ctx or the limit ends. The lock is given up
// meanwhile.
func (l *lane) waitRoom(ctx context.Context, bytes int, limit <-chan time.Time) {
	for !l.closed && !l.fits(bytes) {
		room := l.room
		l.waiting++
		l.mu.Unlock()
		over := false
		select {
		case <-room:
		case <-ctx.Done():
			over = true
		case <-limit:
			over = true
		}
		l.mu.Lock()
		l.waiting--
		if over {
			return
		}
	}
}

// roomMade tells the publishers that wait. It is called with the lock held.
func (l *lane) roomMade() {
	if l.waiting == 0 {
		return
	}
	close(l.room)
	l.room = make(chan struct{})
}

// kill gives up a queued event. It is called with the lock held.
func (l *lane) kill(e *entry, reason DropReason, cause error) {
	l.ledger.Queued -= int64(len(e.channels))
	l.drop(reason, e, e.channels, cause)
	l.queue.bury(e)
	l.release(e)
	l.roomMade()
}

// release gives back what a settled event held. It is called with the lock held; roomMade has to follow.
func (l *lane) release(e *entry) {
	l.events--
	l.bytes -= len(e.body)
	l.store.done(e.chunk)
}

// drop accounts for an event given up, on the given of its channels, and reports it. It is called with the lock held,
// while the body is still valid.
func (l *lane) drop(reason DropReason, e *entry, channels []string, err error) {
	l.ledger.drop(reason, int64(len(channels)))
	l.report(reason, e, channels, err)
}

// cancel gives up the events of a call that are still queued, or wait to be sent again. What a driver is sending is beyond
// recall.
func (l *lane) cancel(c *call) {
	cause := c.canceled()
	l.mu.Lock()
	defer l.mu.Unlock()
	for e := range l.queue.all() {
		if e.call != c || e.dead {
			continue
		}
		for i := range e.channels {
			c.settle(e.slot+i, brokers.NotSent, cause)
		}
		l.kill(e, DropCanceled, cause)
	}
	l.cancelResting()
}

// rest says that a batch waits to be sent again, in no driver's hands; nil says that none does any more.
func (l *lane) rest(b *batch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.resting = b
	l.cancelResting()
}

// cancelResting gives up what callers who wait no longer have in the batch that waits to be sent again, each for its own reason,
// whoever of them comes first. The room is given back with the whole batch. It is called with the lock held.
func (l *lane) cancelResting() {
	if l.resting == nil {
		return
	}
	var others []int
	for i, ref := range l.resting.refs {
		e := &l.resting.entries[ref.entry]
		if cause := e.canceled(); cause != nil {
			l.giveUp(e, ref.channel, brokers.NotSent, DropCanceled, cause)
		} else {
			others = append(others, i)
		}
	}
	if len(others) < len(l.resting.refs) {
		l.resting.keep(others)
	}
}

// close refuses further events and lets the flusher end once the queue is empty.
func (l *lane) close() {
	l.mu.Lock()
	l.closed = true
	l.asleep = true
	l.rousing()
	l.roomMade()
	l.unlock()
}

func (l *lane) snapshot() Ledger {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ledger.snapshot()
}
