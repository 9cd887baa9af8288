package nats

import (
	"context"
	"errors"
	"strings"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/internal/handover"
)

// Subscribe feeds sink from a consumer: a durable one that the members of the group share, or one of its own that begins
// with what is published from now on. See brokers.Conn. It returns an error where the stream or the consumer cannot be
// had before the subscription was ready for the first time; later that is reported as a Gap, and tried again.
func (c *jet) Subscribe(ctx context.Context, s brokers.Subscription, sink brokers.Sink) error {
	patterns, err := readChannels(s.Name, s.Channels)
	if err != nil {
		return err
	}
	feeds, err := newFeeds(s, patterns, c.set.jet)
	if err != nil {
		return err
	}
	if !c.calls.Enter() {
		return brokers.ErrClosed
	}
	defer c.calls.Leave()
	ctx, release := c.subs.Bind(ctx)
	defer release()
	m := &member{
		conn: c, patterns: patterns, feeds: feeds, maxBytes: s.MaxBytes, prefetch: s.Prefetch,
		leases: newLeases(), queue: handover.New(),
	}
	if m.prefetch <= 0 {
		m.prefetch = c.set.jet.prefetch
	}
	done := make(chan error, 1)
	go func() {
		defer m.queue.Close()
		done <- brokers.Contain(func() error { return m.run(ctx) })
	}()
	m.queue.Feed(sink, c.late)
	return <-done
}

// A member is one subscription. Its goroutine does everything but calling the sink.
type member struct {
	conn     *jet
	patterns []brokers.Pattern
	feeds    []*feed
	maxBytes int
	prefetch int
	leases   *leases
	queue    *handover.Queue

	everReady bool
	since     time.Time // when the feeds were last known to be well
	trouble   string    // what was reported last

	held    []*natsgo.Msg    // what waits for a look at the clock: see hold
	checks  <-chan time.Time // when that is
	checked bool             // nothing is held for now
}

// run holds the subscription until ctx ends and everything is settled, then returns nil, or an error where it cannot be had.
func (m *member) run(ctx context.Context) error {
	for ctx.Err() == nil {
		s, err := m.conn.sub.Next(ctx, m.failed)
		if err == nil {
			err = m.serve(ctx, s)
		}
		if err != nil && ctx.Err() == nil {
			return err
		}
	}
	m.settleRest(ctx)
	return nil
}

// failed judges an error that keeps the subscription from being served: before it was ever ready, one that will not pass
// is its end.
func (m *member) failed(err error) error {
	if retryable(err) {
		return nil
	}
	if !m.everReady {
		return err
	}
	if m.trouble != err.Error() {
		m.trouble = err.Error()
		m.gap(err, -1)
	}
	return nil
}

func (m *member) gap(err error, missed int64) {
	now := time.Now()
	m.queue.Gap(brokers.Gap{Since: m.since, Until: now, Reason: brokers.GapReconnect, Missed: missed, Err: err})
	m.since = now
}

// serve receives over a session until ctx or the session ends, or a consumer has to be made again. It returns an error
// where the subscription cannot be had.
func (m *member) serve(ctx context.Context, s *session) error {
	js, err := jetstream.New(s.nc)
	if err != nil {
		return err
	}
	if err := m.attach(ctx, s); err != nil {
		if err := m.failed(err); err != nil {
			return err
		}
		pause, cancel := context.WithTimeout(ctx, pauseOnRefusal/2)
		defer cancel()
		select {
		case <-pause.Done():
		case <-s.over:
		}
		return nil
	}
	in := make(chan *natsgo.Msg, 2*m.prefetch+64*len(m.feeds))
	defer m.leave(ctx, s, in)
	for _, f := range m.feeds {
		if err := f.open(s, in); err != nil {
			return nil // the session is over
		}
	}
	if !m.everReady {
		m.everReady = true
		m.queue.Ready()
	}
	m.since, m.trouble = time.Now(), ""
	return m.receive(ctx, s, js, in)
}

// deniedAPI returns the denial of a request to JetStream, if there was one, else err: of the request itself, the client knows
// no more than that there was no reply.
func deniedAPI(denied []error, err error) error {
	for _, d := range denied {
		if subject, ok := deniedChannel(d, "Publish"); ok && strings.HasPrefix(subject, "$JS.") {
			return d
		}
	}
	return err
}

// attach makes sure that all consumers are there, and reports the ones that were not there any more.
func (m *member) attach(ctx context.Context, s *session) error {
	ctx, cancel := context.WithTimeout(ctx, m.conn.set.dialTimeout)
	defer cancel()
	return s.manage(ctx, func(ctx context.Context, js jetstream.JetStream) error {
		for _, f := range m.feeds {
			again, emptied, err := f.attach(ctx, js, m.leases)
			if err != nil {
				return err
			}
			m.conn.setKnown(f.key, true)
			switch {
			case again && emptied:
				m.gap(errConsumerGone, -1)
			case again:
				m.gap(errConsumerGone, 0)
			}
		}
		return nil
	})
}

// receive moves messages to the queue and keeps asking for more.
func (m *member) receive(ctx context.Context, s *session, js jetstream.JetStream, in chan *natsgo.Msg) error {
	renew := time.NewTicker(m.renewal())
	defer renew.Stop()
	look := time.NewTicker(heartbeat)
	defer look.Stop()
	for polls := 0; ; {
		if len(in) == 0 {
			if err := m.ask(s); err != nil {
				return nil // the session is over
			}
		}
		select {
		case msg := <-in:
			if err := m.takeAll(s, msg, in); err != nil {
				return nil
			}
		case <-m.leases.changed:
		case <-m.checks:
			if err := m.checkHeld(ctx, s, js); err != nil {
				return nil
			}
		case <-renew.C:
			m.renew(s)
			m.remind(s)
		case <-look.C:
			if polls++; m.quiet() || polls%2 == 0 || m.leases.waiting() {
				if err := m.poll(ctx, s, js); err != nil {
					return nil
				}
			}
		case <-s.over:
			return nil
		case <-ctx.Done():
			return nil
		}
	}
}

// renewal is how often leases are prolonged: three times within the shortest.
func (m *member) renewal() time.Duration {
	d := m.conn.set.jet.ackWait
	for _, f := range m.feeds {
		if f.settings.AckWait > 0 {
			d = min(d, f.settings.AckWait)
		}
	}
	return d / 3
}

// ask requests as many messages as there is room for, once that is worth a request.
func (m *member) ask(s *session) error {
	room := m.prefetch - m.leases.count() - len(m.held)
	for _, f := range m.feeds {
		room -= f.asked
	}
	for _, f := range m.feeds {
		n := room / len(m.feeds)
		if n < 1 && f.asked == 0 && len(m.feeds) > 1 && m.leases.count() < m.prefetch {
			n = 1 // fewer than one for each stream: none may be forgotten
		}
		if n < 1 || f.asked > 0 && n < m.prefetch/len(m.feeds)/4 {
			continue
		}
		if err := f.ask(s, n); err != nil {
			return err
		}
	}
	return nil
}

// takeAll hands over a message, and those that came with it in one go: a lock and a wake-up for each would cost as much as the
// rest of receiving.
func (m *member) takeAll(s *session, msg *natsgo.Msg, in <-chan *natsgo.Msg) error {
	batch := make([]brokers.Delivery, 0, min(len(in)+1, deliverAtOnce))
	var err error
	for {
		batch = append(batch, brokers.Delivery{})
		var delivered bool
		if delivered, err = m.take(s, msg, &batch[len(batch)-1]); !delivered {
			batch = batch[:len(batch)-1]
		}
		if err != nil || len(batch) == deliverAtOnce || len(in) == 0 {
			break
		}
		msg = <-in // nobody else receives from it
	}
	m.queue.Put(batch)
	return err
}

// take reads one message of a session into d, and reports whether it is to be delivered.
func (m *member) take(s *session, msg *natsgo.Msg, d *brokers.Delivery) (bool, error) {
	f := m.feedOf(msg)
	if f == nil {
		return false, nil
	}
	from, ok := readOrigin(msg.Reply)
	if !ok {
		return false, f.status(msg)
	}
	f.asked, f.heard = max(0, f.asked-1), time.Now()
	f.last = max(f.last, from.seq)
	if !matchesAny(m.patterns, msg.Subject) {
		return false, s.nc.Publish(msg.Reply, ackAck)
	}
	if m.hold(msg, from) {
		return false, nil
	}
	attempt, wait := m.wait(f, msg, from)
	if wait > 0 {
		return false, s.nc.Publish(msg.Reply, nakAfter(wait))
	}
	token, unseen, ok := m.leases.add(from, msg.Reply)
	if !ok {
		return false, nil
	}
	m.conn.unsettled.Add(1)
	d.Attempt, d.Position = max(1, attempt-unseen), from.position()
	d.Token, d.Settler = brokers.Token{Ref: m, Seq: token}, m
	read(d, msg, m.maxBytes)
	return true, nil
}

func (m *member) feedOf(msg *natsgo.Msg) *feed {
	for _, f := range m.feeds {
		if f.sub == msg.Sub {
			return f
		}
	}
	return nil
}

func matchesAny(patterns []brokers.Pattern, channel string) bool {
	for _, p := range patterns {
		if p.Match(channel) {
			return true
		}
	}
	return false
}

// renew prolongs the leases.
func (m *member) renew(s *session) {
	for _, reply := range m.leases.replies() {
		if s.nc.Publish(reply, ackProgress) != nil {
			return // the session is over, and the next one goes on
		}
	}
}

// quiet reports whether a request was forgotten, such as by a server that was restarted, and forgets it, too.
func (m *member) quiet() bool {
	found := false
	for _, f := range m.feeds {
		if f.asked > 0 && time.Since(f.heard) > silence {
			f.asked, found = 0, true
		}
	}
	return found
}

// poll looks whether the consumers are there, and at their server's clock. It returns errConsumerGone where one is not.
func (m *member) poll(ctx context.Context, s *session, js jetstream.JetStream) error {
	ctx, cancel := context.WithTimeout(ctx, m.conn.set.dialTimeout)
	defer cancel()
	for _, f := range m.feeds {
		if err := m.look(ctx, s, js, f); errors.Is(err, errConsumerGone) {
			return err
		}
	}
	return nil
}
