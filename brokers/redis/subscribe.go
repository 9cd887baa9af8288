package redis

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/internal/overflow"
)

const (
	// deliverAtOnce is how many messages one call of Deliver has at most.
	deliverAtOnce = 512
	// tooLargeKept is how many bytes are kept of a body that is over Subscription.MaxBytes.
	tooLargeKept = 4 << 10
)

// The delays between attempts to connect: the first one comes at once, the others after exponential backoff with full
// jitter (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/). The longest, with dial_timeout
// and read_timeout, brings a subscription back within 5 s of its server. A connection that lived for steadyAfter was
// not part of the trouble.
const (
	backoffMin  = 50 * time.Millisecond
	backoffMax  = time.Second
	steadyAfter = time.Second
)

// Subscribe feeds sink from a connection of its own: see brokers.Conn. After ctx's end it hands over what was received
// before. It returns an error where the server refuses the user, the password, a channel or the certificates before the
// subscription was ready for the first time; a later refusal is reported as a Gap and tried again.
//
// A Gap for a lost connection begins when the last byte of the server came. What is missed may have been published
// earlier, by as much as the server was behind in sending.
func (c *conn) Subscribe(ctx context.Context, s brokers.Subscription, sink brokers.Sink) error {
	if s.Group != "" {
		return &brokers.CapabilityError{
			Subscription: s.Name, Needs: "consumer groups", Broker: c.scheme,
			Could: brokers.Promising(func(c brokers.Capabilities) bool { return c.Groups }),
		}
	}
	plan, err := newPlan(s.Name, s.Channels)
	if err != nil {
		return err
	}
	if !c.calls.Enter() {
		return brokers.ErrClosed
	}
	defer c.calls.Leave()
	ctx, release := c.subs.Bind(ctx)
	defer release()
	r := &receiver{conn: c, plan: plan, name: s.Name, maxBytes: s.MaxBytes, queue: overflow.New(c.set.buffer, bodySize)}
	done := make(chan error, 1)
	go func() {
		defer r.queue.Close()
		done <- brokers.Contain(func() error { return r.run(ctx) })
	}()
	r.queue.Feed(sink, c.late, read)
	return <-done
}

// A receiver is the reading side of a subscription: one session after the other.
type receiver struct {
	conn     *conn
	plan     *plan
	name     string
	maxBytes int
	queue    *overflow.Queue[received]
	received []received // and not in the queue yet

	everReady bool
	lost      outage
}

// An outage is the time since messages may have been missed; zero while the subscription is alive.
type outage struct {
	since   time.Time
	err     error
	refusal string // the refusal that was reported last
}

// run holds the subscription until ctx ends, then returns nil, or an error where it cannot be had at all.
func (r *receiver) run(ctx context.Context) error {
	for attempt := 0; ctx.Err() == nil; attempt++ {
		if !sleep(ctx, backoff(attempt, rand.Float64())) {
			break
		}
		s := r.newSession()
		started := time.Now()
		err := s.run(ctx, r)
		r.idle()
		if ctx.Err() != nil {
			if s.confirmed {
				return nil
			}
			break
		}
		switch {
		case s.confirmed:
			r.lost = outage{since: s.complete, err: err}
			if time.Since(started) >= steadyAfter {
				attempt = -1
			}
		case errors.As(err, new(*brokers.PanicError)), refused(err) && !r.everReady:
			return err
		case refused(err):
			r.reportRefusal(err)
		}
	}
	if r.everReady && r.lost.err != nil {
		r.reportGap()
	}
	return nil
}

func (r *receiver) newSession() *session {
	s := &session{
		client: r.conn.sub, plan: r.plan, filter: filter{plan: r.plan}, interval: r.conn.set.pingInterval, maxBytes: r.maxBytes,
	}
	if validName(r.name) {
		s.name = r.name
	}
	return s
}

// idle hands over what was received. It is called before the reader waits for the server, so that one lock and one
// wake-up serve all messages that came together, and none of them waits for the next one.
func (r *receiver) idle() {
	if len(r.received) == 0 {
		return
	}
	r.queue.Put(r.received, time.Now())
	clear(r.received)
	r.received = r.received[:0]
}

// ready is called when the server has confirmed a session's channels.
func (r *receiver) ready() {
	if !r.everReady {
		r.everReady = true
		r.queue.Ready()
		return
	}
	r.reportGap()
	r.lost = outage{}
}

// reportGap reports what is lost by now, and returns up to when that is.
func (r *receiver) reportGap() (until time.Time) {
	until = time.Now()
	r.queue.Gap(brokers.Gap{
		Since: r.lost.since, Until: until, Reason: brokers.GapReconnect, Missed: -1, Err: r.lost.err,
	})
	return until
}

// reportRefusal tells of an outage that will not end by itself before it has ended. The rest of it is another gap.
func (r *receiver) reportRefusal(err error) {
	if r.lost.refusal == err.Error() {
		return
	}
	r.lost.err, r.lost.refusal = err, err.Error()
	r.lost.since = r.reportGap()
}

// receive takes one message of the subscription.
func (r *receiver) receive(m message) {
	r.received = append(r.received, received{channel: m.channel, body: m.body, size: m.size})
}

// backoff returns the delay before an attempt, the first one being 0. random is from 0 to 1.
func backoff(attempt int, random float64) time.Duration {
	if attempt <= 0 {
		return 0
	}
	most := backoffMax
	if attempt < 10 {
		most = min(backoffMax, backoffMin<<(attempt-1))
	}
	return time.Duration(random * float64(most))
}

// sleep waits for d and reports whether ctx is still alive then.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// A received is a message as it came.
type received struct {
	channel string
	body    []byte
	size    int // of a body that was cut short, else 0
}

func bodySize(m received) int { return len(m.body) }

// read makes a delivery of a message.
func read(d *brokers.Delivery, m received) {
	d.Channel, d.Body = m.channel, m.body
	if m.size > 0 {
		d.Malformed, d.Size = brokers.ReasonTooLarge, m.size
	}
}
