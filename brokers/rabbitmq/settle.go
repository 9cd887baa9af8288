package rabbitmq

import (
	"context"
	"fmt"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
)

// A tokenError says which token is not one of the subscription's that wait to be settled.
type tokenError struct{ token brokers.Token }

func (e tokenError) Error() string {
	return fmt.Sprintf("token %d is settled already, or of another subscription", e.token.Seq)
}

// Settle is the Settler's. What is to come again is published to a queue in which it waits, and acked once the server has
// confirmed that.
func (m *member) Settle(ctx context.Context, list []brokers.Settlement) error {
	done, again, wrong := m.claim(list)
	if len(again) > 0 {
		parked, kept := m.park(ctx, again)
		m.copied(parked)
		done = append(done, parked...)
		m.keep(kept)
	}
	if err := m.ack(ctx, done); err != nil {
		return err
	}
	return wrong
}

// claim takes the deliveries that are settled, so that nobody else settles them. again are those to come back.
func (m *member) claim(list []brokers.Settlement) (done []*held, again []parking, wrong error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, one := range list {
		h := m.held[one.Token.Seq]
		switch {
		case one.Token.Ref != any(m) || h == nil || h.busy:
			wrong = tokenError{one.Token}
			continue
		case h.line == nil:
			delete(m.held, h.token)
			if one.Verdict == brokers.Redeliver {
				delete(m.stale, h.staleKey())
			} else {
				h.doneAt = time.Now()
			}
			wrong = errLost
			continue
		}
		h.busy, h.acking = true, one.Verdict != brokers.Redeliver
		if one.Verdict == brokers.Redeliver {
			again = append(again, redelivery(h, max(redeliverMin, one.After)))
		} else {
			done = append(done, h)
		}
	}
	return done, again, wrong
}

// ack acks deliveries and returns once the server has read that, or ctx has ended.
func (m *member) ack(ctx context.Context, list []*held) error {
	var failed error
	for len(list) > 0 {
		l := m.lineOf(list[0])
		var mine, others []*held
		for _, h := range list {
			if m.lineOf(h) == l {
				mine = append(mine, h)
			} else {
				others = append(others, h)
			}
		}
		list = others
		if l == nil {
			failed = errLost
		} else if err := m.conn.exec(ctx, func() error { return m.ackOn(ctx, l, mine) }); err != nil {
			failed = err
		}
	}
	return failed
}

func (m *member) lineOf(h *held) *line {
	m.mu.Lock()
	defer m.mu.Unlock()
	return h.line
}

// ackOn acks deliveries of one line. Where ctx ends before the line's turn has come, they wait to be settled as before. Where the
// line is over they are done with: suppose they waited to be settled, then what comes again would be given to a handler that
// has ended.
func (m *member) ackOn(ctx context.Context, l *line, list []*held) error {
	if err := l.take(ctx); err != nil {
		if ctx.Err() != nil {
			m.release(list)
		}
		return fmt.Errorf("%w (%w)", errLost, err)
	}
	defer func() { <-l.turn }()
	tags := make([]uint64, len(list))
	for i, h := range list {
		tags[i] = h.tag
	}
	if err := l.settle(tags, nil); err != nil {
		return fmt.Errorf("%w (%w)", errLost, err) // the feed hears of it, too, and lost notes it
	}
	m.end(list)
	return nil
}

// copied notes that copies of deliveries wait in their places.
func (m *member) copied(list []*held) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, h := range list {
		h.acking = true
	}
}

// release undoes claim.
func (m *member) release(list []*held) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, h := range list {
		h.busy, h.acking = false, false
	}
}

// end forgets deliveries that are settled.
func (m *member) end(list []*held) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, h := range list {
		delete(m.held, h.token)
		m.uncount(h)
	}
	m.changedLocked()
}

// open returns how many deliveries of a line the sink has, and a channel that is closed when that changes.
func (m *member) open(l *line) (n int, changed <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, h := range m.held {
		if h.line == l && h.counted {
			n++
		}
	}
	return n, m.changed
}
