package watermill

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/router/middleware"
)

// Subscribe implements brokers.Conn. It returns an error where the Watermill Subscriber refuses a topic before the subscription
// was ready; whether the bus tries again is for Retryable to say.
func (c *conn) Subscribe(ctx context.Context, s brokers.Subscription, sink brokers.Sink) error {
	topics, err := c.topics(&s)
	if err != nil {
		return err
	}
	if !c.calls.Enter() {
		return brokers.ErrClosed
	}
	defer c.calls.Leave()
	if ctx.Err() != nil {
		return nil
	}
	sub, closeSub, err := c.subscriberOf(ctx, s.Group)
	if err != nil {
		return err
	}
	defer closeSub()
	fetch, release := c.subs.Bind(ctx)
	defer release()
	m := newMember(c, sub, &s, sink, fetch)
	return m.run(context.WithoutCancel(ctx), topics)
}

// topics checks the subscription and returns its channels, each once.
func (c *conn) topics(s *brokers.Subscription) ([]string, error) {
	could := func(ok func(brokers.Capabilities) bool, needs string) error {
		return &brokers.CapabilityError{
			Subscription: s.Name, Needs: needs, Broker: "watermill", Could: brokers.Promising(ok),
		}
	}
	if s.Group != "" && !c.cfg.Promises.Groups {
		return nil, could(func(c brokers.Capabilities) bool { return c.Groups }, "consumer groups")
	}
	if len(s.Channels) == 0 {
		return nil, errors.New("a subscription needs a channel")
	}
	var out []string
	for _, channel := range s.Channels {
		p, err := brokers.ParsePattern(channel)
		if err != nil {
			return nil, err
		}
		if !p.Literal() {
			return nil, could(func(c brokers.Capabilities) bool { return c.Patterns }, "wildcard channels")
		}
		if !slices.Contains(out, channel) {
			out = append(out, channel)
		}
	}
	return out, nil
}

// subscriberOf returns the Subscriber of a group, and what closes it where it is ours.
func (c *conn) subscriberOf(ctx context.Context, group string) (message.Subscriber, func(), error) {
	if group == "" && c.cfg.Subscriber != nil {
		return c.cfg.Subscriber, func() {}, nil
	}
	if c.cfg.Subscribers == nil {
		return nil, nil, errNoSubscriber
	}
	sub, err := c.cfg.Subscribers(ctx, group)
	if err != nil {
		return nil, nil, err
	}
	return sub, func() { c.closeSubscriber(sub) }, nil
}

// closeSubscriber closes what Subscribers made, and waits for it no longer than Close's deadline: some adapters wait for
// their broker.
func (c *conn) closeSubscriber(sub message.Subscriber) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() { _ = recover() }()
		_ = sub.Close()
	}()
	t := time.NewTimer(closeTimeout)
	defer t.Stop()
	select {
	case <-done:
	case <-c.late:
	case <-t.C:
	}
}

// A member is one subscription: a Watermill subscription for each topic, whose messages meet in one sink.
type member struct {
	c        *conn
	sub      message.Subscriber
	sink     brokers.Sink
	maxBytes int
	room     chan struct{} // has an element for each unsettled delivery, up to Prefetch

	fetch context.Context // ends when no more is to be handed over

	arrivals chan arrival
	gaps     chan brokers.Gap
	feeders  sync.WaitGroup

	mu   sync.Mutex
	open map[uint64]*message.Message
	// held are messages whose redelivery waits: the end of their delay, or of the subscription, nacks them.
	held  map[uint64]*time.Timer
	seq   uint64
	ended bool
	empty chan struct{} // has an element when open or held may have become empty
}

type arrival struct {
	channel string
	msg     *message.Message
}

func newMember(c *conn, sub message.Subscriber, s *brokers.Subscription, sink brokers.Sink, fetch context.Context) *member {
	prefetch := s.Prefetch
	if prefetch <= 0 {
		prefetch = DefaultPrefetch
	}
	return &member{
		c: c, sub: sub, sink: sink, maxBytes: s.MaxBytes, room: make(chan struct{}, prefetch), fetch: fetch,
		arrivals: make(chan arrival), gaps: make(chan brokers.Gap),
		open: make(map[uint64]*message.Message), held: make(map[uint64]*time.Timer), empty: make(chan struct{}, 1),
	}
}

// run holds the subscription. Watermill's own ends with keep, and later than fetch: with it, most adapters forget the
// acks that are still to come.
func (m *member) run(ctx context.Context, topics []string) error {
	keep, end := context.WithCancel(ctx)
	defer m.awaitFeeders()
	defer end()
	parallel := 1
	if m.sub != m.c.cfg.Subscriber {
		parallel = m.c.cfg.Parallel
	}
	topics = slices.Repeat(topics, parallel)
	opened := make([]<-chan *message.Message, len(topics))
	for i, channel := range topics {
		ch, err := m.subscribe(keep, channel)
		if err != nil {
			m.abandon(keep, opened[:i])
			if m.fetch.Err() != nil {
				return nil
			}
			return fmt.Errorf("%s: %w", channel, err)
		}
		opened[i] = ch
	}
	m.sink.Ready()
	for i, channel := range topics {
		m.feeders.Go(func() { m.feed(keep, channel, opened[i]) })
	}
	m.deliver()
	m.settleRest()
	return nil
}

// awaitFeeders waits until Watermill has let go, but no longer than Close's deadline: an adapter may not listen to its context.
func (m *member) awaitFeeders() {
	done := make(chan struct{})
	go func() {
		defer close(done)
		m.feeders.Wait()
	}()
	t := time.NewTimer(closeTimeout)
	defer t.Stop()
	select {
	case <-done:
	case <-m.c.late:
	case <-t.C:
	}
}

// abandon lets go of subscriptions that nothing was handed over from.
func (m *member) abandon(keep context.Context, opened []<-chan *message.Message) {
	for _, ch := range opened {
		m.feeders.Go(func() { nackRest(keep, m.c.late, ch) })
	}
}

// subscribe subscribes to one topic. A Subscriber that does not return is waited for as long as the subscription is wanted.
func (m *member) subscribe(keep context.Context, channel string) (<-chan *message.Message, error) {
	type result struct {
		ch  <-chan *message.Message
		err error
	}
	got := make(chan result)
	m.feeders.Go(func() {
		var r result
		r.ch, r.err = subscribe(keep, m.sub, m.c.cfg.Topic(channel))
		select {
		case got <- r:
		case <-m.fetch.Done():
			if r.err == nil {
				nackRest(keep, m.c.late, r.ch)
			}
		}
	})
	select {
	case r := <-got:
		return r.ch, r.err
	case <-m.fetch.Done():
		return nil, m.fetch.Err()
	}
}

// subscribe calls the Subscriber, a panic of which would otherwise end the program.
func subscribe(ctx context.Context, sub message.Subscriber, topic string) (ch <-chan *message.Message, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("watermill: the Subscriber panicked: %s", middleware.PanicText(v))
		}
	}()
	return sub.Subscribe(ctx, topic)
}

// feed moves the messages of one topic to the sink's goroutine, and subscribes anew where Watermill closes the channel.
func (m *member) feed(keep context.Context, channel string, ch <-chan *message.Message) {
	for attempt := 1; ; attempt++ {
		began := time.Now()
		if !m.pass(channel, ch) {
			nackRest(keep, m.c.late, ch)
			return
		}
		since := time.Now()
		if since.Sub(began) > time.Second {
			attempt = 1
		}
		var err error
		for ch = nil; ch == nil; attempt++ {
			if !pause(m.fetch.Done(), retry.Delay(attempt, rand.Float64())) {
				return
			}
			ch, err = m.subscribe(keep, channel)
		}
		m.report(since, err)
	}
}

// pass hands over until the channel is closed, and reports whether that is why it returns: else the subscription has ended. It has
// a message before it asks for room: suppose a topic that is idle took the room first, the others would wait for it.
func (m *member) pass(channel string, ch <-chan *message.Message) (closed bool) {
	for {
		select {
		case <-m.fetch.Done():
			return false
		case msg, ok := <-ch:
			if !ok {
				return true
			}
			if !m.handOver(arrival{channel, msg}) {
				msg.Nack()
				return false
			}
		}
	}
}

// handOver waits for room and gives a message to the sink's goroutine, and reports whether the subscription had not ended before.
func (m *member) handOver(a arrival) bool {
	select {
	case m.room <- struct{}{}:
	case <-m.fetch.Done():
		return false
	}
	select {
	case m.arrivals <- a:
		return true
	case <-m.fetch.Done():
		<-m.room
		return false
	}
}

// nackRest gives back what Watermill still hands out once its subscription is told to end, until it closes the channel: its
// goroutines end then. Before that nothing is read, since a message that is nacked at once comes again at once.
func nackRest(keep context.Context, late <-chan struct{}, ch <-chan *message.Message) {
	<-keep.Done()
	t := time.NewTimer(closeTimeout)
	defer t.Stop()
	for {
		select {
		case msg, ok := <-ch:
			if !ok {
				return
			}
			msg.Nack()
		case <-late:
			return
		case <-t.C:
			return
		}
	}
}

// report tells of an interval in which Watermill's subscription was not there.
func (m *member) report(since time.Time, err error) {
	if m.c.cfg.Promises.Durable {
		return
	}
	if err == nil {
		err = errors.New("watermill: the Subscriber closed its channel")
	}
	select {
	case m.gaps <- brokers.Gap{Since: since, Until: time.Now(), Reason: brokers.GapReconnect, Missed: -1, Err: err}:
	case <-m.fetch.Done():
	}
}

// deliver calls the sink, from the goroutine of Subscribe's caller.
func (m *member) deliver() {
	for {
		select {
		case <-m.fetch.Done():
			return
		case g := <-m.gaps:
			m.sink.Gap(g)
		case a := <-m.arrivals:
			d := m.take(a)
			m.sink.Deliver([]brokers.Delivery{d})
		}
	}
}

// take makes a delivery of a message.
func (m *member) take(a arrival) brokers.Delivery {
	d := brokers.Delivery{Message: fromWatermill(a.channel, a.msg), Settler: m}
	if n := len(d.Body); m.maxBytes > 0 && n > m.maxBytes {
		d.Malformed, d.Size, d.Body = brokers.ReasonTooLarge, n, d.Body[:m.maxBytes:m.maxBytes]
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.seq++
	m.open[m.seq] = a.msg
	m.c.unsettled.Add(1)
	d.Token = brokers.Token{Ref: m, Seq: m.seq}
	return d
}
