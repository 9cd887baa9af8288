package watermill

import (
	"context"
	"errors"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
)

var errNotDelivered = errors.New("watermill: the delivery is not, or no longer, one of this subscription")

// Settle implements brokers.Settler. Watermill's Ack and Nack do not block and tell nothing of what becomes of them.
func (m *member) Settle(_ context.Context, settlements []brokers.Settlement) error {
	stale := false
	for _, s := range settlements {
		if s.Token.Ref != m || !m.settle(s) {
			stale = true
		}
	}
	if stale {
		return errNotDelivered
	}
	return nil
}

func (m *member) settle(s brokers.Settlement) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	msg, ok := m.open[s.Token.Seq]
	if !ok {
		return false
	}
	if m.held[s.Token.Seq] != nil {
		return false // settled: its redelivery waits
	}
	switch {
	case s.Verdict != brokers.Redeliver:
		ok = msg.Ack()
	case s.After > 0 && !m.ended:
		m.held[s.Token.Seq] = time.AfterFunc(s.After, func() { m.nack(s.Token.Seq) })
		m.c.unsettled.Add(-1)
		m.signal()
		return true
	default:
		ok = msg.Nack()
	}
	m.c.unsettled.Add(-1)
	m.forget(s.Token.Seq)
	return ok
}

// nack ends the wait of a redelivery.
func (m *member) nack(seq uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.held[seq] == nil {
		return
	}
	delete(m.held, seq)
	m.open[seq].Nack()
	m.forget(seq)
}

// forget makes room for another delivery; m.mu is held.
func (m *member) forget(seq uint64) {
	delete(m.open, seq)
	<-m.room
	m.signal()
}

func (m *member) signal() {
	select {
	case m.empty <- struct{}{}:
	default:
	}
}

// settleRest waits until every delivery is settled or Close's deadline has passed. Then what is left is nacked, and so is what
// waits for its redelivery: the wait is not Watermill's, so that nobody else would keep it.
func (m *member) settleRest() {
	for !m.settled() {
		select {
		case <-m.empty:
			continue
		case <-m.c.late:
		}
		break
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ended = true
	for seq, msg := range m.open {
		if t := m.held[seq]; t != nil {
			t.Stop()
			delete(m.held, seq)
		} else {
			m.c.unsettled.Add(-1)
		}
		msg.Nack()
		m.forget(seq)
	}
}

// settled reports whether all is settled that was delivered.
func (m *member) settled() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.open) == len(m.held)
}
