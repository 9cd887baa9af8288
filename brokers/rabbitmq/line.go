package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/eventbus-go/eventbus/internal/relink"
)

// errQueueGone is why a queue has to be made again.
var errQueueGone = errors.New("the queue was deleted")

// A line is one channel that consumes one queue, from its opening to its first error. Its calls take turns: the client would
// mix up their replies.
type line struct {
	session    *session
	ch         *amqp.Channel
	tag        string // of the consumer
	deliveries <-chan amqp.Delivery
	cancels    <-chan string      // says that the queue was deleted
	closed     <-chan *amqp.Error // says that the channel, or the session, is over
	turn       chan struct{}      // holds an element while somebody calls
	acks       tracker            // guarded by turn
	lastAck    time.Time          // likewise
	made       bool               // the queue was not there
}

// openLine opens a channel, makes the queue if need be, and consumes it.
func openLine(s *session, set *settings, p place, name string, prefetch int) (*line, error) {
	l := &line{session: s, turn: make(chan struct{}, 1), tag: consumerTag(name)}
	l.acks.init()
	var err error
	if p.group != "" && set.create {
		if l.made, err = isMissing(s, p.name); err != nil {
			return nil, err
		}
	}
	if l.ch, err = s.conn.Channel(); err != nil {
		return nil, err
	}
	if err = l.begin(set, p, prefetch); err != nil {
		_ = l.ch.Close()
		return nil, err
	}
	return l, nil
}

func (l *line) begin(set *settings, p place, prefetch int) error {
	if err := set.declare(l.ch, p); err != nil {
		return err
	}
	if err := l.ch.Qos(prefetch, 0, false); err != nil {
		return err
	}
	l.cancels = l.ch.NotifyCancel(make(chan string, 1))
	l.closed = l.ch.NotifyClose(make(chan *amqp.Error, 1))
	var err error
	l.deliveries, err = l.ch.Consume(p.name, l.tag, false, p.group == "", false, false, nil)
	return setup(fmt.Sprintf("reading queue %q", p.name), err)
}

// isMissing reports whether a queue does not exist. One whose node is down does, although the server finds neither.
func isMissing(s *session, name string) (bool, error) {
	err := s.do(func(ch *amqp.Channel) error {
		_, err := ch.QueueDeclarePassive(name, true, false, false, false, nil)
		return err
	})
	if notFound(err) {
		return true, nil
	}
	return false, err
}

// consumerTag is what a subscription is called in the broker's own tools.
func consumerTag(name string) string {
	plain := safeName(name)
	return fmt.Sprintf("%s-%08x", plain[:min(len(plain), 100)], rand.Uint32())
}

// take waits for the turn to call.
func (l *line) take(ctx context.Context) error {
	select {
	case l.turn <- struct{}{}:
		return nil
	case <-l.session.over:
		return l.session.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// settle acks some deliveries, gives others back, and returns once the server has read that. Its caller has the turn.
func (l *line) settle(acked, back []uint64) error {
	if l.ch.IsClosed() {
		return errLost
	}
	if err := l.write(acked, back); err != nil {
		return err
	}
	return l.ch.Flow(true) // it changes nothing, and is answered after what was sent before
}

func (l *line) write(acked, back []uint64) error {
	l.session.wire.cork()
	defer l.session.wire.uncork()
	for _, tag := range back {
		if err := l.ch.Nack(tag, false, true); err != nil {
			return err
		}
	}
	l.acks.settle(back)
	if len(acked) > 0 {
		l.lastAck = time.Now()
	}
	upTo, single := l.acks.settle(acked)
	if upTo > 0 {
		if err := l.ch.Ack(upTo, true); err != nil {
			return err
		}
	}
	for _, tag := range single {
		if err := l.ch.Ack(tag, false); err != nil {
			return err
		}
	}
	return nil
}

// linger is how long a channel stays open after the last ack of a quorum queue.
//
// The server has read an ack when it answers what follows, but the queue takes it with low priority, and hears of the channel's end
// with a high one. Suppose the channel is closed at once: the queue may give everything to the next consumer that was acked
// last (seen with 3.10.8).
const linger = 200 * time.Millisecond

// close closes the channel. Its caller has the turn.
func (l *line) close(ctx context.Context, kind string) error {
	if kind == quorum && !relink.Sleep(ctx, linger-time.Since(l.lastAck)) {
		return ctx.Err()
	}
	return l.ch.Close()
}

// A tracker knows which deliveries of a line are settled, so that many are acked at once. The server numbers them from 1.
type tracker struct {
	lowest  uint64 // that is not settled
	settled map[uint64]bool
}

func (t *tracker) init() { t.lowest, t.settled = 1, make(map[uint64]bool) }

// settle notes that tags are settled. It returns one of them up to which all are, or 0, and those above.
func (t *tracker) settle(tags []uint64) (upTo uint64, single []uint64) {
	for _, tag := range tags {
		t.settled[tag] = true
	}
	for t.settled[t.lowest] {
		delete(t.settled, t.lowest)
		t.lowest++
	}
	for _, tag := range tags {
		if tag < t.lowest {
			upTo = max(upTo, tag)
		} else {
			single = append(single, tag)
		}
	}
	return upTo, single
}
