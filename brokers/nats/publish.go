package nats

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	natsgo "github.com/nats-io/nats.go"

	"github.com/eventbus-go/eventbus/brokers"
)

const (
	// grace is how long Publish waits after its context's end for outcomes that are better than Unknown; the contract
	// allows 100 ms.
	grace = 50 * time.Millisecond
	// freePublications is how many publications are kept for reuse: more than there are lanes.
	freePublications = 16
	// admitted is how many messages are given to the client between two looks at whether Publish has given up. They are
	// Unknown together then.
	admitted = 32
)

// errAbandoned ends a publication whose Publish has given up.
var errAbandoned = errors.New("abandoned by its caller")

// A bodyTooLong is the error of a message that was not even tried.
type bodyTooLong struct{ size, most int }

func (e bodyTooLong) Error() string {
	return fmt.Sprintf("a body of %d bytes is over max_bytes (%d)", e.size, e.most)
}

// Publish sends msgs one after the other and then a PING: its PONG says that the server has read them all. Without it the
// client's nil means nothing but that they are in a buffer.
func (c *core) Publish(ctx context.Context, msgs []brokers.Message) error {
	if len(msgs) == 0 {
		return nil
	}
	if !c.calls.Enter() {
		return brokers.FailAll(len(msgs), brokers.NotSent, brokers.ErrClosed)
	}
	defer c.calls.Leave()
	if err := ctx.Err(); err != nil {
		return brokers.FailAll(len(msgs), brokers.NotSent, err)
	}
	s, err := c.pub.Now(ctx)
	if err != nil {
		return brokers.FailAll(len(msgs), brokers.NotSent, err)
	}
	p := c.publication()
	p.begin(ctx, s, msgs)
	if ctx.Done() == nil {
		p.run()
		return c.finish(p)
	}
	if !c.execs.Enter() {
		return brokers.FailAll(len(msgs), brokers.NotSent, brokers.ErrClosed)
	}
	go func() {
		defer c.execs.Leave()
		p.done <- brokers.Contain(func() error { p.run(); return nil })
	}()
	select {
	case err := <-p.done:
		return c.ended(p, err)
	case <-ctx.Done():
	}
	t := time.NewTimer(grace)
	defer t.Stop()
	select {
	case err := <-p.done:
		return c.ended(p, err)
	case <-t.C:
	}
	select {
	case err := <-p.done: // also
		return c.ended(p, err)
	default:
		return p.abandon(ctx.Err()) // the client may still read the messages: p is never used again
	}
}

// publication returns one that was used before, or a new one.
func (c *core) publication() *publication {
	select {
	case p := <-c.free:
		return p
	default:
		return &publication{set: c.set, done: make(chan error, 1)}
	}
}

// ended is finish after a run on another goroutine, which may have panicked: then p is never used again.
func (c *core) ended(p *publication, err error) error {
	if err != nil {
		return p.abandon(err)
	}
	return c.finish(p)
}

// finish returns the outcome of a publication that has run, and keeps it for the next one.
func (c *core) finish(p *publication) error {
	failed := p.failed
	p.ctx, p.session, p.msgs, p.failed = nil, nil, nil, nil
	p.msg = natsgo.Msg{}
	p.header.reset()
	select {
	case c.free <- p:
	default:
	}
	return batchError(failed)
}

func batchError(failed []brokers.MessageError) error {
	if len(failed) == 0 {
		return nil
	}
	slices.SortFunc(failed, func(a, b brokers.MessageError) int { return a.Index - b.Index })
	return &brokers.BatchError{Failed: failed}
}

// A publication is one call of Publish. It is used again by later ones.
type publication struct {
	set     settings
	done    chan error // a panic, or nil
	msg     natsgo.Msg
	header  headerWriter
	ctx     context.Context
	session *session
	msgs    []brokers.Message
	failed  []brokers.MessageError
	checked [3]string // the channels that were good last: an event has up to three, again and again
	// begun counts the messages whose writing may have begun; abandonedBit says that no further one may.
	begun atomic.Uint64
}

const abandonedBit = 1 << 63

func (p *publication) begin(ctx context.Context, s *session, msgs []brokers.Message) {
	p.ctx, p.session, p.msgs, p.failed = ctx, s, msgs, nil
	p.begun.Store(0)
}

// run sends all messages and waits for the server to have read them.
func (p *publication) run() {
	before := p.session.denials()
	sent, err := p.send()
	if sent > 0 {
		if lost := p.session.flush(p.ctx); lost != nil {
			p.mark(0, sent, brokers.Unknown, lost)
			p.mark(sent, len(p.msgs), brokers.NotSent, cmp.Or(err, lost))
			return
		}
		p.reject(p.session.deniedSince(p.ctx, before))
	}
	p.mark(sent, len(p.msgs), brokers.NotSent, err)
}

// send gives the messages to the client, and returns how many of them it may have sent something of.
func (p *publication) send() (int, error) {
	for i := range p.msgs {
		if i%admitted == 0 {
			if err := p.ctx.Err(); err != nil {
				return i, err
			}
			if !p.admit(min(i+admitted, len(p.msgs))) {
				return i, errAbandoned
			}
		}
		err := p.check(&p.msgs[i])
		if err == nil {
			err = p.sendOne(&p.msgs[i])
		}
		switch {
		case err == nil:
		case errors.Is(err, natsgo.ErrConnectionClosed):
			return i, err
		case !retryable(err):
			p.failed = append(p.failed, brokers.MessageError{Index: i, Outcome: brokers.Rejected, Err: err})
		default:
			return i + 1, err
		}
	}
	return len(p.msgs), nil
}

// check returns why a message can never be sent.
func (p *publication) check(m *brokers.Message) error {
	if m.Channel != p.checked[0] && m.Channel != p.checked[1] && m.Channel != p.checked[2] {
		if err := brokers.CheckChannel(m.Channel); err != nil {
			return badChannel{err}
		}
		p.checked[0], p.checked[1], p.checked[2] = m.Channel, p.checked[0], p.checked[1]
	}
	if len(m.Body) > p.set.maxBytes {
		return bodyTooLong{len(m.Body), p.set.maxBytes}
	}
	return brokers.CheckHeaders(m.Headers)
}

func (p *publication) sendOne(m *brokers.Message) error {
	p.msg.Subject, p.msg.Data = m.Channel, m.Body
	p.msg.Header = p.header.write(m, p.set.headers)
	return p.session.nc.PublishMsg(&p.msg)
}

// mark gives the messages from..to that are not marked yet an outcome.
func (p *publication) mark(from, to int, o brokers.Outcome, err error) {
	marked := make(map[int]bool, len(p.failed))
	for _, f := range p.failed {
		marked[f.Index] = true
	}
	for i := from; i < to; i++ {
		if !marked[i] {
			p.failed = append(p.failed, brokers.MessageError{Index: i, Outcome: o, Err: err})
		}
	}
}

// reject marks the messages on channels that the server said the user may not publish to.
func (p *publication) reject(denied []error) {
	for _, err := range denied {
		channel, ok := deniedChannel(err, "Publish")
		for i := range p.msgs {
			if ok && p.msgs[i].Channel == channel {
				p.mark(i, i+1, brokers.Rejected, err)
			}
		}
	}
}

// admit reports whether the messages before to may be given to the client, and notes that they may have been from now on.
func (p *publication) admit(to int) bool {
	for {
		n := p.begun.Load()
		if n&abandonedBit != 0 {
			return false
		}
		if p.begun.CompareAndSwap(n, uint64(to)) {
			return true
		}
	}
}

// abandon returns what is known of a publication whose client does not return. No message is given to it from now on
// that was not yet, so that NotSent is certain.
func (p *publication) abandon(err error) error {
	begun := int(p.begun.Or(abandonedBit) &^ abandonedBit)
	failed := make([]brokers.MessageError, len(p.msgs))
	for i := range p.msgs {
		failed[i] = brokers.MessageError{Index: i, Outcome: brokers.NotSent, Err: err}
		if i < begun {
			failed[i].Outcome = brokers.Unknown
		}
	}
	return &brokers.BatchError{Failed: failed}
}
