package rabbitmq

import (
	"cmp"
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/eventbus-go/eventbus/brokers"
)

const (
	// grace is how long Publish waits after its context's end for outcomes that are better than Unknown; the contract
	// allows 100 ms.
	grace = 50 * time.Millisecond
	// admitted is how many messages are given to the client between two looks at whether Publish has given up. They are
	// Unknown together then.
	admitted = 64
)

// errAbandoned ends a publication whose Publish has given up.
var errAbandoned = errors.New("abandoned by its caller")

// Publish sends msgs one after the other on one channel and waits for the server to confirm each: see brokers.Conn. A message
// that no queue wants is confirmed and counted (see Unroutable); on a required channel it is Rejected.
func (c *conn) Publish(ctx context.Context, msgs []brokers.Message) error {
	if len(msgs) == 0 {
		return nil
	}
	if !c.calls.Enter() {
		return brokers.FailAll(len(msgs), brokers.NotSent, brokers.ErrClosed)
	}
	defer c.calls.Leave()
	p := &publication{set: c.set, msgs: msgs, now: time.Now(), parcels: make([]parcel, len(msgs))}
	p.fill = p.fromMessage
	return c.publish(ctx, p)
}

// publish runs a publication and returns once each message has its outcome.
func (c *conn) publish(ctx context.Context, p *publication) error {
	pipe, err := c.pipe(ctx)
	if err == nil {
		err = pipe.take(ctx)
	}
	if err != nil {
		return brokers.FailAll(len(p.parcels), brokers.NotSent, err)
	}
	if !c.execs.Enter() {
		<-pipe.turn
		return brokers.FailAll(len(p.parcels), brokers.NotSent, brokers.ErrClosed)
	}
	p.ctx, p.pipe, p.done = ctx, pipe, make(chan struct{})
	run := func() {
		defer c.execs.Leave()
		if err := brokers.Contain(func() error { p.send(); return nil }); err != nil {
			p.why = err
		}
		<-pipe.turn
		if p.begun.Or(writtenBit)&abandonedBit != 0 {
			p.forget()
		}
		close(p.done)
	}
	if ctx.Done() == nil {
		run()
		return p.finish()
	}
	go run() // nothing interrupts the client's writing
	select {
	case <-p.done:
		return p.finish()
	case <-ctx.Done():
	}
	t := time.NewTimer(grace)
	defer t.Stop()
	select {
	case <-p.done:
		return p.finish()
	case <-t.C:
		return p.abandon(ctx.Err())
	}
}

// pipe returns the channel to publish on.
func (c *conn) pipe(ctx context.Context) (*pipe, error) {
	s, err := c.pub.Now(ctx)
	if err != nil {
		return nil, err
	}
	return s.pipe, nil
}

// A publication is one call of Publish.
type publication struct {
	set     *settings
	msgs    []brokers.Message
	now     time.Time
	ctx     context.Context
	pipe    *pipe
	parcels []parcel
	fill    func(i int) error // sets a parcel; its error is that of a message that can never be sent
	done    chan struct{}     // closed once nothing more is written
	checked [3]string         // the channels that were good last: an event has up to three, again and again

	sent   int // parcels that were given to the client
	why    error
	failed []brokers.MessageError
	timer  *time.Timer // runs from ctx's end on
	// begun counts the messages whose writing may have begun; abandonedBit says that no further one may, writtenBit that nothing
	// more is to be written.
	begun atomic.Uint64
}

const (
	abandonedBit = 1 << 63
	writtenBit   = 1 << 62
)

// send gives the messages to the client.
func (p *publication) send() {
	for from := 0; from < len(p.parcels); from += admitted {
		to := min(from+admitted, len(p.parcels))
		if p.why = p.ctx.Err(); p.why != nil {
			return
		}
		if !p.admit(to) {
			p.why = errAbandoned
			return
		}
		for i := from; i < to; i++ {
			p.parcels[i].err = p.fill(i)
		}
		p.sent = to
		if p.why = p.pipe.write(p.parcels[from:to]); p.why != nil {
			return
		}
	}
}

// fromMessage fills a parcel with a message of Publish.
func (p *publication) fromMessage(i int) error {
	m, one := &p.msgs[i], &p.parcels[i]
	if m.Channel == "" || m.Channel != p.checked[0] && m.Channel != p.checked[1] && m.Channel != p.checked[2] {
		if err := checkChannel(m.Channel); err != nil {
			return err
		}
		p.checked[0], p.checked[1], p.checked[2] = m.Channel, p.checked[0], p.checked[1]
	}
	if len(m.Body) > p.set.maxBytes {
		return bodyTooLong{len(m.Body), p.set.maxBytes}
	}
	err := brokers.CheckHeaders(m.Headers)
	if err != nil {
		return err
	}
	one.exchange, one.key, one.must = p.set.exchange, m.Channel, matchesAny(p.set.required, m.Channel)
	one.msg, err = write(m, p.now)
	return err
}

// finish waits for the confirms of what was sent, and returns what became of each message.
func (p *publication) finish() error {
	defer p.forget()
	synced := false
	for i := range p.parcels {
		one := &p.parcels[i]
		switch {
		case i >= p.sent:
			p.fail(i, brokers.NotSent, p.why)
		case one.err != nil:
			p.fail(i, brokers.Rejected, one.err)
		case one.confirm == nil: // the client failed in the middle of it, or before it
			p.fail(i, brokers.Unknown, cmp.Or(p.why, errSessionOver))
		case !p.await(one.confirm):
			p.fail(i, brokers.Unknown, p.ctx.Err())
		case !one.confirm.Acked():
			o, err := p.refusal(one)
			p.fail(i, o, err)
		case one.must:
			if !synced {
				p.awaitAll(i)
				p.pipe.settled()
				synced = true
			}
			if p.pipe.wasReturned(one) {
				p.fail(i, brokers.Rejected, noRoute{one.key})
			}
		}
	}
	if len(p.failed) == 0 {
		p.pipe.confirmed.Store(true)
		return nil
	}
	return &brokers.BatchError{Failed: p.failed}
}

func (p *publication) fail(i int, o brokers.Outcome, err error) {
	p.failed = append(p.failed, brokers.MessageError{Index: i, Outcome: o, Err: err})
}

// await reports whether a confirm came before the context's end and a moment after it.
func (p *publication) await(confirm *amqp.DeferredConfirmation) bool {
	select {
	case <-confirm.Done():
		return true
	default:
	}
	if p.timer == nil {
		select {
		case <-confirm.Done():
			return true
		case <-p.ctx.Done():
			p.timer = time.NewTimer(grace)
		}
	}
	select {
	case <-confirm.Done():
		return true
	case <-p.timer.C:
		p.timer.Reset(0) // for those that follow
	}
	select {
	case <-confirm.Done(): // also
		return true
	default:
		return false
	}
}

// awaitAll waits for the confirms from index from on, so that the returns of all of them have come.
func (p *publication) awaitAll(from int) {
	for i := from; i < p.sent; i++ {
		if c := p.parcels[i].confirm; c != nil && !p.await(c) {
			return
		}
	}
}

// refusal says what became of a message that was not confirmed although the reply is there: a queue did not take it, which
// others may have done, or the channel is over and with it everything that it had not confirmed.
func (p *publication) refusal(one *parcel) (brokers.Outcome, error) {
	if !p.pipe.ch.IsClosed() {
		return brokers.Unknown, nacked{}
	}
	<-p.pipe.over
	err := p.pipe.err
	if code(err) != amqp.AccessRefused {
		return brokers.Unknown, err
	}
	// A right to write that depends on the channel is refused by its name, and the rest of the batch is lost with it.
	_, topic, named := strings.Cut(err.Error(), "access to topic '")
	switch {
	case named && strings.HasPrefix(topic, one.key+"'"):
		return brokers.Rejected, err
	case named, p.pipe.confirmed.Load():
		return brokers.Unknown, err
	}
	return brokers.NotSent, err
}

// forget ends what the pipe knows of the parcels.
func (p *publication) forget() {
	for i := range p.parcels[:p.sent] {
		if p.parcels[i].must {
			p.pipe.forget(&p.parcels[i])
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
// that was not yet, so that NotSent is certain. Where the client has returned at this moment, the outcome is that of finish.
func (p *publication) abandon(err error) error {
	before := p.begun.Or(abandonedBit)
	if before&writtenBit != 0 {
		return p.finish()
	}
	begun := int(before)
	failed := make([]brokers.MessageError, len(p.parcels))
	for i := range failed {
		failed[i] = brokers.MessageError{Index: i, Outcome: brokers.NotSent, Err: err}
		if i < begun {
			failed[i].Outcome = brokers.Unknown
		}
	}
	return &brokers.BatchError{Failed: failed}
}
