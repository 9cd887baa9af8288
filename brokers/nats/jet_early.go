package nats

import (
	"context"
	"slices"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// holdFor is how long what may be early waits for others that may be, before the clock is looked at: no delay is shorter.
const holdFor = redeliverMin

// hold keeps a message aside that comes again, and that we know nothing sure of, until the clock has been looked at: it may have come
// because of a jump. All that come within a moment wait for one look.
func (m *member) hold(msg *natsgo.Msg, from origin) bool {
	if from.attempt == 1 || m.checked {
		return false
	}
	if _, sure := m.leases.recall(from); sure {
		return false
	}
	if len(m.held) == 0 {
		m.checks = time.After(holdFor)
	}
	m.held = append(m.held, msg)
	return true
}

// checkHeld looks at the clock for what is held, and takes it.
func (m *member) checkHeld(ctx context.Context, s *session, js jetstream.JetStream) error {
	ctx, cancel := context.WithTimeout(ctx, m.conn.set.dialTimeout)
	defer cancel()
	for _, f := range m.feeds {
		if slices.ContainsFunc(m.held, func(msg *natsgo.Msg) bool { return msg.Sub == f.sub }) {
			_ = m.look(ctx, s, js, f) // what is wrong is found by the next look
		}
	}
	m.checked = true
	defer func() { m.checked = false }()
	return m.takeHeld(s)
}

// takeHeld takes what is held, where it is not to be held any longer.
func (m *member) takeHeld(s *session) error {
	held := make(chan *natsgo.Msg, len(m.held))
	for _, msg := range m.held {
		held <- msg
	}
	m.held, m.checks = nil, nil
	for len(held) > 0 {
		if err := m.takeAll(s, <-held, held); err != nil {
			return err
		}
	}
	return nil
}

// wait returns how long a message is sent back for because it is early, and which attempt it is by what the server says.
func (m *member) wait(f *feed, msg *natsgo.Msg, from origin) (attempt int, wait time.Duration) {
	if from.attempt > 1 {
		left, sure := m.leases.recall(from)
		if !sure && f.jolt.unsafe(f.lease()) {
			left = f.lease()
		}
		if left > 0 {
			m.leases.back(from, msg.Reply)
			return 0, left
		}
	}
	attempt, wait = early(msg.Header, from.attempt, time.Now())
	if wait > 0 {
		m.leases.backUntil(from, msg.Reply, wait)
	}
	return attempt, wait
}

// early returns how much longer a message has to wait for its NotBefore, and which attempt it is: the server counts the
// delivery that was sent back, the handler does not. Where the first delivery came late enough, the second attempt counts
// as the first.
func early(h natsgo.Header, delivered int, now time.Time) (attempt int, wait time.Duration) {
	text := value(h, headerNotBefore)
	if text == "" {
		return delivered, 0
	}
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return delivered, 0
	}
	return max(1, delivered-1), max(0, at.Sub(now))
}
