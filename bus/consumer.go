package bus

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/router"
	"github.com/eventbus-go/eventbus/router/middleware"
	"github.com/eventbus-go/eventbus/schema"
)

// maxHeldBytes bounds the bodies that a subscription holds, beside its Prefetch: what 1,024 events of 16 KB take.
const maxHeldBytes = 16 << 20

// A consumer is the receiving side of one subscription. The stages of handling, in order:
//
//	peek        the envelope: key, type, id; what is not an event is marked, not dropped
//	lanes       at most Prefetch held, at most Concurrency in flight, one at a time per key, higher priority first
//	middleware  dedup > retry > timeout > recover > the bus's own > the subscription's own
//	handler     func(ctx, event) error
//	settle      ack, redeliver, or terminate
//
// It has a feed for each broker that it reads.
type consumer struct {
	bus     *Bus
	name    string
	sub     Subscription
	feeds   []*feed
	wanted  []brokers.Pattern
	handler router.Handler      // what one attempt is
	outer   []router.Middleware // around the attempts
	sched   *scheduler
	window  *window // nil where only one channel is read
	past    past    // guarded by sched.mu

	ctx     context.Context // of handlers: ends when Close's deadline has passed
	workers sync.WaitGroup  // those that are waited for

	bound    time.Duration // how long an attempt may last; 0 means for ever
	crew     map[*worker]struct{}
	strays   map[*stray]bool
	ticker   *time.Timer
	watching bool // the ticker runs

	gate *gate // nil where nothing is ever shut out

	counts SubscriptionStats // guarded by sched.mu
}

// newConsumer makes the consumer of a subscription that reads the given feeds.
func newConsumer(b *Bus, s Subscription, feeds []*feed, channels, wanted []brokers.Pattern) (c *consumer, err error) {
	c = &consumer{bus: b, name: s.Name, sub: s, feeds: feeds, wanted: wanted}
	for _, f := range feeds {
		f.c = c
	}
	c.sched = newScheduler(s.Prefetch, max(maxHeldBytes, b.limits.MaxEventBytes), s.workers(), func() { c.hire(nil) }, c.lets)
	c.sched.halted = s.Paused
	if len(feeds) > 1 || len(channels) > 1 || !channels[0].Literal() {
		c.window = newWindow(windowSize)
	}
	c.bound = s.Stuck.bound(s.Timeout)
	if s.BatchHandler != nil {
		c.bound = batchBound(c.bound, s.Batch)
	}
	c.handler, c.outer = c.attempt(), c.aroundAttempts()
	c.gate, err = c.newGate()
	return c, err
}

// caps are what all brokers promise that the subscription reads, and the strongest order that one of them keeps.
func (c *consumer) caps() brokers.Capabilities {
	common := c.feeds[0].link.caps
	for _, f := range c.feeds[1:] {
		common.Delay = common.Delay && f.link.caps.Delay
		common.Order = max(common.Order, f.link.caps.Order)
	}
	return common
}

// attempt wraps the subscription's handler, once, in what is done for each attempt.
func (c *consumer) attempt() router.Handler {
	timeout := c.sub.Timeout
	h := c.sub.Handler
	switch {
	case c.sub.BatchHandler != nil:
		b := newBatcher(c)
		c.sched.crowded = b.nudge
		h, timeout = b.handle, NoTimeout // that is the batch's
	case h == nil:
		h = dispatch(c.sub.Handlers)
	}
	h = router.Chain(router.Chain(h, c.sub.Middleware...), c.bus.mw...)
	h = middleware.Recover(c.panicked)(h)
	return middleware.Timeout(timeout)(h)
}

// aroundAttempts is what wraps an event's attempts.
func (c *consumer) aroundAttempts() []router.Middleware {
	policy := retryPolicy(c.sub.Retry, c.caps())
	var mw []router.Middleware
	if c.sub.Dedup.Store != nil {
		mw = append(mw, middleware.Dedup(c.name, c.sub.Dedup, c.dedupFailed))
	}
	return append(mw, middleware.Retry(policy, middleware.OnRetry(c.retried), middleware.Later()))
}

// deliver takes in what a feed yields. It blocks while the subscription holds as much as it may.
func (c *consumer) deliver(f *feed, batch []brokers.Delivery) {
	s := c.sched
	var items [intakeStep]*item
	for len(batch) > 0 {
		n := min(len(batch), intakeStep)
		s.mu.Lock()
		for i := range n {
			items[i] = s.newItem()
		}
		s.mu.Unlock()
		for i := range n {
			c.peek(f, items[i], &batch[i])
		}
		s.mu.Lock()
		for i := range n {
			c.receive(f, items[i], &batch[i])
		}
		s.mu.Unlock()
		batch = batch[n:]
	}
}

// intakeStep is how many deliveries are decoded before the lock is taken for them: enough to make the lock cheap, few
// enough that the first of a large batch does not wait for the last to be decoded.
const intakeStep = 16

// peek decodes a delivery's envelope into an item. It is called without the lock, and nobody else has the item.
func (c *consumer) peek(f *feed, it *item, d *brokers.Delivery) {
	if d.Malformed != "" {
		it.bad = d.Malformed
		return
	}
	if err := c.bus.decode(&it.event, d, f.link.local); err != nil {
		it.bad, it.badErr = reasonOf(err), err
	}
}

// wants reports whether an item is of a type that the subscription handles.
func (c *consumer) wants(it *item) bool {
	return it.bad != "" || len(c.wanted) == 0 || matchesAny(c.wanted, it.event.Type)
}

// receive takes a delivery that the subscription wants, and settles any other. It is called with the scheduler's lock held.
func (c *consumer) receive(f *feed, it *item, d *brokers.Delivery) {
	if c.wants(it) {
		c.take(f, it, d)
		return
	}
	c.counts.Received++
	c.counts.Filtered++
	f.settle(d.Settler, brokers.Settlement{Token: d.Token})
	c.sched.freeItem(it)
}

// take counts a delivery and holds its item, once there is room. It is called with the scheduler's lock held.
func (c *consumer) take(f *feed, it *item, d *brokers.Delivery) {
	s := c.sched
	size := len(d.Body)
	c.counts.Received++
	c.counts.InFlight++
	for !s.hasRoom(size) && !s.cut {
		s.room.Wait()
	}
	it.body, it.full = d.Body, max(d.Size, size)
	it.feed, it.channel, it.position, it.settler, it.token, it.size = f, d.Channel, d.Position, d.Settler, d.Token, size
	it.ctx = f.contextOf(d.Channel)
	it.lane = c.sub.Priorities.laneOf(&it.event)
	if it.bad == "" {
		it.key, it.attempt = keyOf(d, &it.event), max(d.Attempt, 1)
		c.past.recall(it)
	}
	s.add(it)
}

// keyOf is the key beside the body where the broker carries one, else the event's own.
func keyOf(d *brokers.Delivery, e *schema.Event) string {
	if d.Key != "" {
		return d.Key
	}
	return e.Key()
}

func (c *consumer) stats() SubscriptionStats {
	c.sched.mu.Lock()
	defer c.sched.mu.Unlock()
	if c.bus.measuring.Load() {
		c.counts.Took.open(tookBounds)
		c.counts.Age.open(ageBounds)
	}
	st := c.counts.snapshot()
	st.Waiting, st.Concurrency = int64(len(c.sched.parked)), int64(c.sub.workers())
	if c.gate != nil && c.gate.breaker != nil {
		st.Breaker, st.BreakerOpened = c.gate.breaker.state, c.gate.breaker.opened
	}
	st.Paused, st.Ready = c.sched.halted, true
	for _, f := range c.feeds {
		st.Ready = st.Ready && f.isReady()
	}
	return st
}

func (c *consumer) note(kind string, level slog.Level, message string, attrs ...any) {
	c.bus.reporter.note(c.name+":"+kind, level, message, append(attrs, "subscription", c.name)...)
}

// dedupFailed is told of each failure of the store by which duplicates are recognised.
func (c *consumer) dedupFailed(err error) {
	c.sched.mu.Lock()
	c.counts.DedupErrors++
	c.sched.mu.Unlock()
	c.note("dedup", slog.LevelError, "the store of handled events fails", "err", err)
}

// retried is told of each retry.
func (c *consumer) retried(middleware.Retrying) {
	c.sched.mu.Lock()
	c.counts.Retries++
	c.sched.mu.Unlock()
}

// reasonOf is the label under which a body that is no event is counted.
func reasonOf(err error) brokers.Reason {
	var d *schema.DecodeError
	if errors.As(err, &d) {
		return brokers.Reason(d.Reason)
	}
	return brokers.ReasonForeign
}
