package nats

import (
	"context"
	"errors"
	"time"

	natsgo "github.com/nats-io/nats.go"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/internal/overflow"
	"github.com/eventbus-go/eventbus/internal/relink"
)

const (
	// deliverAtOnce is how many messages of JetStream are handed over at once.
	deliverAtOnce = 512
	// tooLargeKept is how many bytes are kept of a body that is over Subscription.MaxBytes.
	tooLargeKept = 4 << 10
	// inbox is how many messages the client keeps for a receiver, which does nothing but move them to its queue.
	inbox = 8 << 10
	// pauseOnRefusal is how long what the server refused is not tried again.
	pauseOnRefusal = time.Second
)

// Subscribe feeds sink from the connection that all subscriptions share: see brokers.Conn. After ctx's end it hands over
// what was received before. It returns an error where the server refuses the user, the password, a channel or the
// certificates before the subscription was ready for the first time; a later refusal is reported as a Gap and tried again.
func (c *core) Subscribe(ctx context.Context, s brokers.Subscription, sink brokers.Sink) error {
	if s.Group != "" {
		return &brokers.CapabilityError{
			Subscription: s.Name, Needs: "consumer groups", Broker: c.set.scheme,
			Could: brokers.Promising(func(c brokers.Capabilities) bool { return c.Groups }),
		}
	}
	patterns, err := readChannels(s.Name, s.Channels)
	if err != nil {
		return err
	}
	if !c.calls.Enter() {
		return brokers.ErrClosed
	}
	defer c.calls.Leave()
	ctx, release := c.subs.Bind(ctx)
	defer release()
	r := &receiver{link: c.sub, patterns: patterns, queue: overflow.New(c.set.buffer, bodySize)}
	done := make(chan error, 1)
	go func() {
		defer r.queue.Close()
		done <- brokers.Contain(func() error { return r.run(ctx) })
	}()
	r.queue.Feed(sink, c.late, func(d *brokers.Delivery, m *natsgo.Msg) { read(d, m, s.MaxBytes) })
	return <-done
}

// A receiver is the reading side of a subscription: over one session after the other.
type receiver struct {
	link     *relink.Link[*session]
	patterns []brokers.Pattern
	queue    *overflow.Queue[*natsgo.Msg]
	received []*natsgo.Msg // and not in the queue yet

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
	for ctx.Err() == nil {
		s, err := r.link.Next(ctx, r.failed)
		if err == nil {
			err = r.listen(ctx, s)
		}
		if err != nil && ctx.Err() == nil {
			return err
		}
	}
	if r.everReady && r.lost.err != nil {
		r.reportGap()
	}
	return nil
}

// failed judges why there is no session: before the subscription was ever ready, a refusal is its end.
func (r *receiver) failed(err error) error {
	switch {
	case !refused(err):
		return nil
	case !r.everReady:
		return err
	case r.lost.refusal != err.Error():
		// The outage will not end by itself: say so before it has ended. The rest of it is another gap.
		r.lost.err, r.lost.refusal = err, err.Error()
		r.lost.since = r.reportGap()
	}
	return nil
}

// listen subscribes over a session and moves messages to the queue until ctx or the session ends. It returns an error
// where the subscription cannot be had at all.
func (r *receiver) listen(ctx context.Context, s *session) error {
	in := make(chan *natsgo.Msg, inbox)
	before := s.denials()
	subs, err := r.subscribe(s, in)
	defer func() {
		for _, sub := range subs {
			_ = sub.Unsubscribe() // it fails where the session is over, and then there is nothing to undo
		}
	}()
	if err == nil {
		err = s.flush(ctx)
	}
	if err != nil {
		return r.broke(ctx, s)
	}
	if err := r.deniedOne(s.deniedSince(ctx, before)); err != nil {
		if err := r.failed(err); err != nil {
			return err
		}
		return r.pause(ctx, s)
	}
	r.ready()
	drops := &dropCounter{subs: subs}
	for {
		select {
		case m := <-in:
			r.receive(m)
			for n := len(in); n > 0; n-- { // a select, a lock and a wake-up for each would cost as much as the rest
				r.receive(<-in)
			}
			r.handOver()
			r.overflown(drops.count())
		case <-s.over:
			r.end(s, in, drops)
			return nil
		case <-ctx.Done():
			r.end(s, in, drops)
			return nil
		}
	}
}

// end takes what has come over a session, and notes since when messages may have been missed where the session is over.
func (r *receiver) end(s *session, in <-chan *natsgo.Msg, drops *dropCounter) {
	r.drain(in)
	r.overflown(drops.count())
	select {
	case <-s.over:
		r.lost = outage{since: s.wire.lastHeard(), err: s.err}
	default:
	}
}

func (r *receiver) subscribe(s *session, in chan *natsgo.Msg) ([]*natsgo.Subscription, error) {
	var subs []*natsgo.Subscription
	for _, p := range r.patterns {
		sub, err := s.nc.ChanSubscribe(p.String(), in)
		if err != nil {
			return subs, err
		}
		subs = append(subs, sub)
	}
	return subs, nil
}

// broke waits until a session that failed is over. A server that does not answer is given up by the client's pings.
func (r *receiver) broke(ctx context.Context, s *session) error {
	select {
	case <-s.over:
	case <-ctx.Done():
	}
	return nil
}

// pause waits before a channel that the server refused is tried again.
func (r *receiver) pause(ctx context.Context, s *session) error {
	ctx, cancel := context.WithTimeout(ctx, pauseOnRefusal)
	defer cancel()
	return r.broke(ctx, s)
}

// deniedOne returns the denial that is about one of the patterns, if any is.
func (r *receiver) deniedOne(denied []error) error {
	for _, err := range denied {
		channel, ok := deniedChannel(err, "Subscription")
		for _, p := range r.patterns {
			if ok && p.String() == channel {
				return err
			}
		}
	}
	return nil
}

// ready is called when the server has confirmed the channels.
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
	err := r.lost.err
	if err == nil {
		err = errSessionOver
	}
	until = time.Now()
	r.queue.Gap(brokers.Gap{Since: r.lost.since, Until: until, Reason: brokers.GapReconnect, Missed: -1, Err: err})
	return until
}

// overflown reports what the client has dropped because the receiver was not quick enough.
func (r *receiver) overflown(n int64) {
	if n > 0 {
		now := time.Now()
		r.queue.Gap(brokers.Gap{Since: now, Until: now, Reason: brokers.GapOverflow, Missed: n, Err: natsgo.ErrSlowConsumer})
	}
}

func (r *receiver) drain(in <-chan *natsgo.Msg) {
	for {
		select {
		case m := <-in:
			r.receive(m)
		default:
			r.handOver()
			return
		}
	}
}

// receive takes one message of the subscription. It never waits for the sink.
func (r *receiver) receive(m *natsgo.Msg) {
	if owns(r.patterns, m.Sub.Subject, m.Subject) {
		r.received = append(r.received, m)
	}
}

// handOver puts what was received into the queue.
func (r *receiver) handOver() {
	r.queue.Put(r.received, time.Now())
	clear(r.received)
	r.received = r.received[:0]
}

func bodySize(m *natsgo.Msg) int { return len(m.Data) }

// read sets what a message of the client says of a delivery. A body over maxBytes is copied in part, so that the whole of
// it is not held.
func read(d *brokers.Delivery, m *natsgo.Msg, maxBytes int) {
	d.Channel, d.Body = m.Subject, m.Data
	readFields(&d.Message, m.Header)
	if n := len(m.Data); maxBytes > 0 && n > maxBytes {
		d.Body = append([]byte(nil), m.Data[:min(tooLargeKept, maxBytes)]...)
		d.Malformed, d.Size = brokers.ReasonTooLarge, n
	}
}

// A dropCounter reads how many messages the client has dropped for a receiver's subscriptions. It cannot drop any while
// there is room, so that counting whenever the receiver has caught up misses none.
type dropCounter struct {
	subs []*natsgo.Subscription
	seen int
}

// count returns how many more there are than at the last call.
func (d *dropCounter) count() int64 {
	total := 0
	for _, sub := range d.subs {
		n, err := sub.Dropped()
		if err != nil && !errors.Is(err, natsgo.ErrBadSubscription) {
			return 0
		}
		total += n
	}
	more := total - d.seen
	d.seen = max(d.seen, total)
	return int64(max(0, more))
}
