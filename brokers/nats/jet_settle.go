package nats

import (
	"context"
	"errors"
	"fmt"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/internal/lifetime"
)

// redeliverMin is the least delay before a redelivery, whatever is asked for: without any, an event that always fails
// would be tried thousands of times a second.
const redeliverMin = 50 * time.Millisecond

// A tokenError says which token is not one of the subscription's that wait to be settled.
type tokenError struct{ token brokers.Token }

func (e tokenError) Error() string {
	return fmt.Sprintf("token %d is settled already, or of another subscription", e.token.Seq)
}

// Settle is the Settler's. Where the connection is lost, it waits for the next one until ctx ends.
func (m *member) Settle(ctx context.Context, list []brokers.Settlement) error {
	var wrong error
	answers := make([]answer, 0, len(list))
	for _, one := range list {
		text, after := settlement(one)
		reply, ok := "", one.Token.Ref == any(m)
		if ok {
			reply, ok = m.leases.settle(one.Token.Seq, after)
		}
		if !ok {
			wrong = tokenError{one.Token}
			continue
		}
		answers = append(answers, answer{reply, text})
	}
	if len(answers) == 0 {
		return wrong
	}
	// Others may be asked for at once: their way here takes as long as the answers' way there.
	m.leases.signal()
	defer m.leases.answered(len(answers))
	defer m.conn.unsettled.Add(-int64(len(answers)))
	if err := m.answer(ctx, answers); err != nil {
		return err
	}
	return wrong
}

// An answer is what settles one delivery.
type answer struct {
	reply string
	text  []byte
}

// settlement returns the text of the answer that settles a delivery, and after how long it is to be delivered again.
func settlement(s brokers.Settlement) (text []byte, after time.Duration) {
	switch s.Verdict {
	case brokers.Ack:
		return ackAck, 0
	case brokers.Terminate:
		return ackTerm, 0
	default:
		after = max(redeliverMin, s.After)
		return nakAfter(after), after
	}
}

// answer sends answers and waits until the server has read them, off the caller's goroutine: nothing interrupts the client.
func (m *member) answer(ctx context.Context, answers []answer) error {
	if !m.conn.execs.Enter() {
		return brokers.ErrClosed
	}
	done := make(chan error, 1)
	go func() {
		defer m.conn.execs.Leave()
		done <- brokers.Contain(func() error { return m.sendUntilRead(ctx, answers) })
	}()
	return lifetime.Outcome(ctx, done)
}

// sendUntilRead sends answers, over one session after the other, until the server has read them. An answer that is read twice
// changes nothing the second time.
func (m *member) sendUntilRead(ctx context.Context, answers []answer) error {
	for {
		s, err := m.conn.sub.Next(ctx, func(error) error { return nil })
		if err != nil {
			return err
		}
		if err = send(ctx, s, answers); err == nil || ctx.Err() != nil {
			return err
		}
		select {
		case <-s.over:
		case <-ctx.Done():
			return err
		}
	}
}

func send(ctx context.Context, s *session, answers []answer) error {
	for _, a := range answers {
		if err := s.nc.Publish(a.reply, a.text); err != nil {
			return err
		}
	}
	return s.flush(ctx)
}

// leave ends the requests of a session. Where ctx has ended, what is still on its way is waited for and given back, and
// with it what the sink has not seen: other members need not wait for the lease to run out.
func (m *member) leave(ctx context.Context, s *session, in chan *natsgo.Msg) {
	if ctx.Err() == nil {
		for _, f := range m.feeds {
			_ = f.sub.Unsubscribe() // it fails where the session is over, and then there is nothing to undo
		}
		m.checked = true
		defer func() { m.checked = false }()
		if m.takeHeld(s) != nil {
			return
		}
		for len(in) > 0 {
			if m.takeAll(s, <-in, in) != nil {
				return
			}
		}
		return
	}
	for _, f := range m.feeds {
		_ = f.sub.Drain()
	}
	within, cancel := context.WithTimeout(context.WithoutCancel(ctx), m.conn.set.writeTimeout)
	defer cancel()
	stop := m.whenLate(cancel)
	defer stop()
	if s.flush(within) != nil {
		return
	}
	var back []answer
	for _, msg := range m.held {
		back = append(back, answer{msg.Reply, ackNak})
	}
	m.held, m.checks = nil, nil
	for len(in) > 0 {
		if msg := <-in; msg.Reply != "" {
			back = append(back, answer{msg.Reply, ackNak})
		}
	}
	for _, token := range m.queue.TakeBack() {
		if reply, ok := m.leases.end(token.Seq); ok {
			m.conn.unsettled.Add(-1)
			back = append(back, answer{reply, ackNak})
		}
	}
	_ = send(within, s, back) // else they come back when their leases run out
}

// whenLate calls f once Close's deadline has passed, until stop is called.
func (m *member) whenLate(f func()) (stop func()) {
	ended := make(chan struct{})
	go func() {
		select {
		case <-m.conn.late:
			f()
		case <-ended:
		}
	}()
	return func() { close(ended) }
}

// settleRest prolongs the leases until everything that the sink has is settled, or Close's deadline has passed: then it is
// given back.
func (m *member) settleRest(ctx context.Context) {
	for _, token := range m.queue.TakeBack() { // where there was no session to give them back to
		if _, ok := m.leases.end(token.Seq); ok {
			m.conn.unsettled.Add(-1)
		}
	}
	renew := time.NewTicker(m.renewal())
	defer renew.Stop()
	for m.leases.busy() {
		select {
		case <-m.leases.changed:
		case <-renew.C:
			if s := m.conn.sub.Alive(); s != nil {
				m.renew(s)
			}
		case <-m.conn.late:
			m.giveUp(ctx)
			return
		}
	}
	m.forget(ctx)
}

// giveUp gives back what is not settled.
func (m *member) giveUp(ctx context.Context) {
	s := m.conn.sub.Alive()
	if s == nil {
		return
	}
	within, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	var back []answer
	for _, reply := range m.leases.replies() {
		back = append(back, answer{reply, ackNak})
	}
	_ = send(within, s, back)
}

// forget deletes the consumers that nobody else uses; else the server does so after a while.
func (m *member) forget(ctx context.Context) {
	s := m.conn.sub.Alive()
	if s == nil || m.feeds[0].group != "" || !m.everReady {
		return
	}
	js, err := jetstream.New(s.nc)
	if err != nil {
		return
	}
	within, cancel := context.WithTimeout(context.WithoutCancel(ctx), m.conn.set.writeTimeout)
	defer cancel()
	stop := m.whenLate(cancel)
	defer stop()
	for _, f := range m.feeds {
		if err := js.DeleteConsumer(within, f.stream, f.name); err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
			return
		}
	}
}
