package bus

import (
	"context"
	"errors"
	"log/slog"
	"sync"

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
//	lanes       at most Prefetch held, at most Concurrency in flight, one at a time per key
//	middleware  retry > timeout > recover > the bus's own > the subscription's own
//	handler     func(ctx, event) error
//	settle      ack, redeliver, or terminate
//
// It is the brokers.Sink of its subscription: the driver calls it from one goroutine at a time.
type consumer struct {
	bus      *Bus
	name     string
	sub      Subscription
	channels []brokers.Pattern
	wanted   []brokers.Pattern
	handler  router.Handler
	sched    *scheduler
	window   *window // nil where only one channel is read
	past     past    // guarded by sched.mu

	settling *settleQueue
	ctx      context.Context // of handlers: ends when Close's deadline has passed

	ready     chan struct{}
	readyOnce sync.Once
	workers   sync.WaitGroup

	counts SubscriptionStats // guarded by sched.mu
}

func newConsumer(b *Bus, s Subscription, channels, wanted []brokers.Pattern) *consumer {
	c := &consumer{
		bus: b, name: s.Name, sub: s, channels: channels, wanted: wanted, ready: make(chan struct{}),
	}
	c.sched = newScheduler(s.Prefetch, max(maxHeldBytes, b.limits.MaxEventBytes), s.Concurrency, func() { c.workers.Go(c.work) })
	if len(channels) > 1 || !channels[0].Literal() {
		c.window = newWindow(windowSize)
	}
	c.handler = c.chain()
	return c
}

// chain wraps the subscription's handler, once.
func (c *consumer) chain() router.Handler {
	h := c.sub.Handler
	if h == nil {
		h = dispatch(c.sub.Handlers)
	}
	h = router.Chain(router.Chain(h, c.sub.Middleware...), c.bus.mw...)
	policy := retryPolicy(c.sub.Retry, c.bus.out.conn.Capabilities())
	mw := []router.Middleware{middleware.Retry(policy, middleware.OnRetry(c.retried), middleware.Later())}
	if c.sub.Timeout > 0 {
		mw = append(mw, middleware.Timeout(c.sub.Timeout))
	}
	mw = append(mw, middleware.Recover(c.panicked))
	return router.Chain(h, mw...)
}

// Ready implements brokers.Sink.
func (c *consumer) Ready() { c.readyOnce.Do(func() { close(c.ready) }) }

// Gap implements brokers.Sink.
func (c *consumer) Gap(g brokers.Gap) {
	c.sched.mu.Lock()
	c.counts.Gaps++
	c.counts.Missed += max(g.Missed, 0)
	c.sched.mu.Unlock()
	c.note("gap", slog.LevelWarn, "messages may have been missed",
		"reason", g.Reason, "since", g.Since, "until", g.Until, "missed", g.Missed, "err", g.Err)
	if hook := c.bus.hooks.Gap; hook != nil {
		_ = c.bus.contain("Gap hook", func() {
			hook(Gap{Subscription: c.name, Since: g.Since, Until: g.Until, Reason: g.Reason, Missed: g.Missed, Err: g.Err})
		})
	}
}

// Deliver implements brokers.Sink. It blocks while the subscription holds as much as it may.
func (c *consumer) Deliver(batch []brokers.Delivery) {
	s := c.sched
	for len(batch) > 0 {
		n := min(len(batch), intakeStep)
		var peeked [intakeStep]peeked
		for i := range n {
			peeked[i] = c.peek(&batch[i])
		}
		s.mu.Lock()
		for i := range n {
			c.take(&batch[i], &peeked[i])
		}
		s.mu.Unlock()
		batch = batch[n:]
	}
}

// intakeStep is how many deliveries are decoded before the lock is taken for them: enough to make the lock cheap, few
// enough that the first of a large batch does not wait for the last to be decoded.
const intakeStep = 16

// peeked is what is known of a delivery before it is held.
type peeked struct {
	event    schema.Event
	bad      brokers.Reason
	err      error
	unwanted bool
}

// peek decodes a delivery's envelope.
func (c *consumer) peek(d *brokers.Delivery) (p peeked) {
	if d.Malformed != "" {
		p.bad = d.Malformed
		return p
	}
	var err error
	if p.event, err = schema.Decode(d.Body, c.bus.limits.MaxEventBytes); err != nil {
		p.bad, p.err = reasonOf(err), err
		return p
	}
	p.unwanted = len(c.wanted) > 0 && !matchesAny(c.wanted, p.event.Type)
	return p
}

// take counts a delivery and holds it, once there is room. It is called with the scheduler's lock held.
func (c *consumer) take(d *brokers.Delivery, p *peeked) {
	c.counts.Received++
	if p.unwanted {
		c.counts.Filtered++
		c.settle(d.Settler, brokers.Settlement{Token: d.Token})
		return
	}
	s := c.sched
	size := len(d.Body)
	c.counts.InFlight++
	for !s.hasRoom(size) && !s.cut {
		s.room.Wait()
	}
	it := s.newItem()
	it.event, it.bad, it.badErr = p.event, p.bad, p.err
	it.channel, it.position, it.settler, it.token, it.size = d.Channel, d.Position, d.Settler, d.Token, size
	if p.bad == "" {
		it.key, it.attempt = keyOf(d, &p.event), max(d.Attempt, 1)
		c.past.recall(it)
	} else {
		it.body = d.Body
		it.full = max(d.Size, size)
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

func (c *consumer) settle(s brokers.Settler, what brokers.Settlement) {
	if s != nil {
		c.settling.add(s, what)
	}
}

func (c *consumer) stats() SubscriptionStats {
	c.sched.mu.Lock()
	defer c.sched.mu.Unlock()
	st := c.counts.snapshot()
	st.Waiting = int64(len(c.sched.parked))
	select {
	case <-c.ready:
		st.Ready = true
	default:
	}
	return st
}

func (c *consumer) note(kind string, level slog.Level, message string, attrs ...any) {
	c.bus.reporter.note(c.name+":"+kind, level, message, append(attrs, "subscription", c.name)...)
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
