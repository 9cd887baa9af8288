package rabbitmq

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/internal/handover"
)

// Subscribe feeds sink from the queues of the group, or from a queue of its own that begins with what is published from now on
// and ends with the connection. See brokers.Conn. It returns an error where a queue cannot be had before the subscription was
// ready for the first time; later that is reported as a Gap, and tried again.
func (c *conn) Subscribe(ctx context.Context, s brokers.Subscription, sink brokers.Sink) error {
	patterns, err := readPatterns(s.Name, s.Channels)
	if err != nil {
		return err
	}
	if !c.calls.Enter() {
		return brokers.ErrClosed
	}
	defer c.calls.Leave()
	ctx, release := c.subs.Bind(ctx)
	defer release()
	m := c.newMember(s, patterns)
	var feeds sync.WaitGroup
	running, stop := context.WithCancel(ctx)
	defer stop()
	failed := make(chan error, 1)
	m.fail = func(err error) {
		select {
		case failed <- err:
		default: // the first one tells
		}
		stop()
	}
	for _, f := range m.feeds {
		feeds.Go(func() {
			if err := brokers.Contain(func() error { return f.run(running) }); err != nil {
				m.fail(err)
			}
		})
	}
	go func() {
		feeds.Wait()
		m.queue.Close()
	}()
	m.queue.Feed(sink, c.late)
	feeds.Wait()
	select {
	case err := <-failed:
		return err
	default:
		return nil
	}
}

// A member is one subscription.
type member struct {
	conn     *conn
	name     string
	maxBytes int
	feeds    []*feed
	queue    *handover.Queue
	fail     func(error)   // ends the subscription
	ready    chan struct{} // closed once all feeds are attached

	mu      sync.Mutex
	missing int // feeds that were never attached
	next    uint64
	held    map[uint64]*held
	stale   map[staleKey]*held
	changed chan struct{} // closed and replaced when something was settled
}

// A held is a delivery that is not settled.
type held struct {
	token   uint64
	feed    *feed
	line    *line // nil once it is over: the server delivers it again
	place   place // that it came from: a feed without a group has another one in each session
	tag     uint64
	msg     *amqp.Delivery
	channel string
	attempt int
	counted bool      // the sink has it, or will have
	busy    bool      // a Settle has it, or it is on its way to a queue in which it waits
	acking  bool      // it is to be acked, and not to come again
	doneAt  time.Time // when it was settled although its line was over

	// Of what waits:
	due   time.Time // until then
	by    int64     // how late is no matter
	tried int       // attempts that were made
	again time.Time // when it is tried again to put it into a queue
}

// A staleKey is what a delivery can be recognised by that comes again.
type staleKey struct{ queue, channel, id string }

func (c *conn) newMember(s brokers.Subscription, patterns []brokers.Pattern) *member {
	m := &member{
		conn: c, name: s.Name, maxBytes: s.MaxBytes, queue: handover.New(), ready: make(chan struct{}),
		held: make(map[uint64]*held), stale: make(map[staleKey]*held), changed: make(chan struct{}),
	}
	places := []place{{patterns: patterns}}
	if s.Group != "" {
		places = c.set.places(s.Group, patterns)
		c.remember(places)
	}
	prefetch := s.Prefetch
	if prefetch <= 0 {
		prefetch = c.set.prefetch
	}
	for _, p := range places {
		n := min(max(1, prefetch/len(places)), 1<<16-1)
		m.feeds = append(m.feeds, &feed{m: m, place: p, prefetch: n, wake: make(chan struct{}, 1)})
	}
	m.missing = len(m.feeds)
	return m
}

// remember notes the queues of a group, for Lag.
func (c *conn) remember(places []place) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range places {
		if c.groups[p.group] == nil {
			c.groups[p.group] = make(map[string]place)
		}
		c.groups[p.group][p.name] = p
	}
}

// attached notes that a feed is, for the first time. With the last one the subscription is ready.
func (m *member) attached() {
	m.mu.Lock()
	m.missing--
	last := m.missing == 0
	m.mu.Unlock()
	if last {
		m.queue.Ready()
		close(m.ready)
	}
}

// take notes a delivery and returns what the sink gets; false where it gets nothing. It is called by the feed's goroutine.
func (m *member) take(f *feed, l *line, d *amqp.Delivery) (brokers.Delivery, bool) {
	channel, foreign := channelOf(d)
	if foreign {
		channel = f.place.patterns[0].String()
	}
	msg := *d
	h := &held{
		feed: f, line: l, place: f.place, tag: d.DeliveryTag, msg: &msg, channel: channel,
		attempt: attemptOf(d, m.conn.set.kind(f.place)),
	}
	if !foreign && !matchesAny(f.place.patterns, channel) {
		m.dismiss(l, h.tag)
		return brokers.Delivery{}, false
	}
	m.mu.Lock()
	adopted, done := m.adopt(h)
	defer func() {
		m.mu.Unlock()
		if done {
			m.dismiss(l, h.tag)
		}
	}()
	if adopted {
		return brokers.Delivery{}, false
	}
	m.next++
	h.token = m.next
	m.held[h.token] = h
	now := time.Now()
	if h.due, h.by = dueAt(d.Headers, now); h.due.After(now) {
		f.early(h)
		return brokers.Delivery{}, false
	}
	m.count(h)
	return m.delivery(h, foreign), true
}

func (m *member) delivery(h *held, foreign bool) brokers.Delivery {
	var out brokers.Delivery
	read(&out, h.msg, m.maxBytes)
	out.Channel, out.Attempt = h.channel, h.attempt
	if foreign {
		out.Malformed = brokers.ReasonForeign
	}
	out.Position = h.place.name + "#" + strconv.FormatUint(h.tag, 10)
	out.Token, out.Settler = brokers.Token{Ref: m, Seq: h.token}, m
	return out
}

// channelOf returns where a message was published. It is foreign where that cannot be known: somebody has put it into the queue
// itself.
func channelOf(d *amqp.Delivery) (channel string, foreign bool) {
	if d.Exchange != "" {
		return d.RoutingKey, false
	}
	channel = text(d.Headers, headerChannel)
	return channel, channel == ""
}

// attemptOf returns which attempt a delivery is. A copy that waited for its redelivery says how many came before it; what came
// back without having been settled is counted by a quorum queue, and by a classic one is only said to have come back.
func attemptOf(d *amqp.Delivery, kind string) int {
	tried := int(number(d.Headers, headerTried))
	if kind == quorum {
		return tried + int(number(d.Headers, "x-delivery-count")) + 1
	}
	if d.Redelivered {
		return 0
	}
	return tried + 1
}

// adopt gives a delivery that comes again, because its line was lost while its handler runs, to that handler: it is settled
// by its token as if nothing had happened. One whose handler is done is to be acked. It is called with the lock held.
func (m *member) adopt(h *held) (adopted, done bool) {
	if !h.msg.Redelivered || h.msg.MessageId == "" {
		return false, false
	}
	key := h.staleKey()
	old := m.stale[key]
	if old == nil {
		return false, false
	}
	delete(m.stale, key)
	if !old.doneAt.IsZero() {
		return true, true
	}
	old.line, old.tag, old.msg = h.line, h.tag, h.msg
	m.count(old)
	return true, false
}

// staleFor is how long is remembered what was settled although its line was over.
const staleFor = time.Minute

// keepStale remembers a delivery whose line is over. It is called with the lock held.
func (m *member) keepStale(h *held) {
	for key, old := range m.stale {
		if !old.doneAt.IsZero() && time.Since(old.doneAt) > staleFor {
			delete(m.stale, key)
		}
	}
	if h.msg.MessageId != "" && h.place.group != "" {
		m.stale[h.staleKey()] = h
	}
}

// count notes that the sink has a delivery, or will have; uncount that it is done with it. Both are called with the lock held.
func (m *member) count(h *held) {
	h.counted = true
	m.conn.unsettled.Add(1)
}

func (m *member) uncount(h *held) {
	if h.counted {
		h.counted = false
		m.conn.unsettled.Add(-1)
	}
}

func (h *held) staleKey() staleKey { return staleKey{h.place.name, h.channel, h.msg.MessageId} }

// lost notes that a line is over: what was delivered over it comes again. What the sink has not seen is forgotten.
func (m *member) lost(l *line) {
	m.queue.TakeBackThose(func(t brokers.Token) bool { return m.forget(t.Seq, l) })
	m.mu.Lock()
	defer m.mu.Unlock()
	for token, h := range m.held {
		if h.line != l {
			continue
		}
		h.line = nil
		m.uncount(h)
		switch {
		case h.acking:
			delete(m.held, token)
			h.doneAt = time.Now()
			m.keepStale(h)
		case h.busy: // no handler has it
			delete(m.held, token)
		default:
			m.keepStale(h)
		}
	}
	for _, f := range m.feeds {
		f.dropLater(l)
	}
	m.changedLocked()
}

// forget removes a delivery of a line that the sink has not seen, and reports whether there was one.
func (m *member) forget(token uint64, l *line) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	h := m.held[token]
	if h == nil || h.line != l {
		return false
	}
	delete(m.held, token)
	m.uncount(h)
	return true
}

func (m *member) changedLocked() {
	close(m.changed)
	m.changed = make(chan struct{})
}

// dismiss acks what nobody asked for, such as a foreign client's channel that the binding matches and our grammar does not.
func (m *member) dismiss(l *line, tag uint64) {
	select {
	case l.turn <- struct{}{}:
		_ = l.write([]uint64{tag}, nil) // else it comes again
		<-l.turn
	case <-l.session.over:
	}
}

var errLost = errors.New("the connection was lost meanwhile: it will be delivered again")
