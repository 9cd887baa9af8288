package watermill

import (
	"cmp"
	"context"
	"fmt"
	"sync"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/router/middleware"
)

// Publish implements brokers.Conn. Successive messages of one channel are one call of the Publisher.
func (c *conn) Publish(ctx context.Context, msgs []brokers.Message) error {
	if len(msgs) == 0 {
		return nil
	}
	if !c.calls.Enter() {
		return brokers.FailAll(len(msgs), brokers.NotSent, brokers.ErrClosed)
	}
	defer c.calls.Leave()
	if c.cfg.Publisher == nil {
		return brokers.FailAll(len(msgs), brokers.Rejected, errNoPublisher)
	}
	if err := ctx.Err(); err != nil {
		return brokers.FailAll(len(msgs), brokers.NotSent, err)
	}
	select {
	case c.slots <- struct{}{}:
	default:
		select {
		case c.slots <- struct{}{}:
		case <-ctx.Done():
			return brokers.FailAll(len(msgs), brokers.NotSent, fmt.Errorf("%w: %w", errStuck, ctx.Err()))
		}
	}
	p := c.newPublication(ctx, msgs)
	go func() {
		defer func() { <-c.slots }()
		defer close(p.done)
		p.run(c)
	}()
	select {
	case <-p.done:
	case <-ctx.Done():
	}
	return p.result(ctx.Err())
}

// A publication is one call of Publish, on its way through the Publisher. Everything in it is its own: whoever called may have
// gone, and reuse the memory of its messages.
type publication struct {
	runs []run
	done chan struct{}

	mu       sync.Mutex
	gone     bool // the caller has gone: no further run begins
	outcomes []brokers.MessageError
}

// A run is messages of one channel, one after the other in the batch.
type run struct {
	topic string
	index []int
	msgs  []*message.Message
}

func (c *conn) newPublication(ctx context.Context, msgs []brokers.Message) *publication {
	p := &publication{done: make(chan struct{}), outcomes: make([]brokers.MessageError, len(msgs))}
	values := context.WithoutCancel(ctx)
	for i := range msgs {
		m := &msgs[i]
		p.outcomes[i] = brokers.MessageError{Index: i, Outcome: brokers.NotSent}
		if limit := c.cfg.Promises.MaxBytes; limit > 0 && len(m.Body) > limit {
			p.outcomes[i].Outcome = brokers.Rejected
			p.outcomes[i].Err = fmt.Errorf("the body has %d bytes, at most %d are allowed", len(m.Body), limit)
			continue
		}
		if err := cmp.Or(brokers.CheckChannel(m.Channel), brokers.CheckHeaders(m.Headers)); err != nil {
			p.outcomes[i].Outcome, p.outcomes[i].Err = brokers.Rejected, err
			continue
		}
		topic := c.cfg.Topic(m.Channel)
		if n := len(p.runs); n == 0 || p.runs[n-1].topic != topic {
			p.runs = append(p.runs, run{topic: topic})
		}
		last := &p.runs[len(p.runs)-1]
		last.index = append(last.index, i)
		last.msgs = append(last.msgs, toWatermill(values, m))
	}
	return p
}

// run publishes one run after the other, until one fails or the caller has gone.
func (p *publication) run(c *conn) {
	for i := range p.runs {
		r := &p.runs[i]
		if !p.begin(r) {
			return
		}
		err := publish(c.cfg.Publisher, r)
		outcome := brokers.Confirmed
		if err != nil {
			outcome = c.cfg.Outcome(err)
		}
		p.mark(r, outcome, err)
		if err != nil {
			p.fail(p.runs[i+1:], err)
			return
		}
	}
}

// begin marks a run as one whose outcome is not known, and reports whether it is still wanted.
func (p *publication) begin(r *run) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gone {
		return false
	}
	for _, i := range r.index {
		p.outcomes[i].Outcome = brokers.Unknown
	}
	return true
}

func (p *publication) mark(r *run, o brokers.Outcome, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, i := range r.index {
		p.outcomes[i].Outcome, p.outcomes[i].Err = o, err
	}
}

// fail gives the runs that were not begun the error of the one before them.
func (p *publication) fail(rest []run, err error) {
	for i := range rest {
		p.mark(&rest[i], brokers.NotSent, err)
	}
}

// result is what is known now. cause is why nobody waits any longer.
func (p *publication) result(cause error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gone = true
	var failed []brokers.MessageError
	for _, o := range p.outcomes {
		if o.Outcome == brokers.Confirmed {
			continue
		}
		if o.Err == nil {
			o.Err = cause
		}
		failed = append(failed, o)
	}
	if len(failed) == 0 {
		return nil
	}
	return &brokers.BatchError{Failed: failed}
}

// publish calls the Publisher, a panic of which would otherwise end the program.
func publish(p message.Publisher, r *run) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("watermill: the Publisher panicked: %s", middleware.PanicText(v))
		}
	}()
	return p.Publish(r.topic, r.msgs...)
}
