package redis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
)

// grace is how long Publish still waits after its ctx has ended. The client obeys a ctx's deadline by itself, only some
// milliseconds later, and then knows for each message what became of it. Together with what a busy machine adds it
// stays below the 100 ms of the contract.
const grace = 30 * time.Millisecond

// Publish sends msgs as pipelines of PUBLISH, or of XADD, each of them after the replies to the one before. Where one
// fails, the rest of msgs is NotSent, so that no message overtakes another one of its key.
func (c *conn) Publish(ctx context.Context, msgs []brokers.Message) error {
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
	var known knownNames
	for i := range msgs {
		if c.unfit(&msgs[i], &known) != nil {
			return c.publishFitting(ctx, msgs)
		}
	}
	return c.publish(ctx, msgs)
}

// unfit returns why a message must not be sent: its body is too long, so that the server would end the connection,
// and with it the fate of its neighbours would be unknown; its channel has no name; or no broker, or no entry, can carry
// its headers.
func (c *conn) unfit(m *brokers.Message, known *knownNames) error {
	if n := len(m.Body); n > c.set.maxBytes {
		return bodyTooLong{n, c.set.maxBytes}
	}
	if err := known.check(m.Channel); err != nil {
		return badChannel{err}
	}
	if err := brokers.CheckHeaders(m.Headers); err != nil || c.carries == nil {
		return err
	}
	return c.carries(m)
}

// knownNames are channels that were found to be well named a moment ago: an event has few of them.
type knownNames struct {
	names [4]string
	next  int
}

func (k *knownNames) check(channel string) error {
	for _, name := range k.names {
		if name == channel && name != "" {
			return nil
		}
	}
	if err := brokers.CheckChannel(channel); err != nil {
		return err
	}
	k.names[k.next%len(k.names)] = channel
	k.next++
	return nil
}

// publishFitting publishes the messages that can be sent, and rejects the others.
func (c *conn) publishFitting(ctx context.Context, msgs []brokers.Message) error {
	var fitting []brokers.Message
	var indexes []int
	var failed []brokers.MessageError
	var known knownNames
	for i, m := range msgs {
		if err := c.unfit(&m, &known); err != nil {
			failed = append(failed, brokers.MessageError{Index: i, Outcome: brokers.Rejected, Err: err})
			continue
		}
		fitting, indexes = append(fitting, m), append(indexes, i)
	}
	if len(fitting) > 0 {
		var rest *brokers.BatchError
		if err := c.publish(ctx, fitting); errors.As(err, &rest) {
			for _, f := range rest.Failed {
				f.Index = indexes[f.Index]
				failed = append(failed, f)
			}
		}
	}
	slices.SortFunc(failed, func(a, b brokers.MessageError) int { return a.Index - b.Index })
	return &brokers.BatchError{Failed: failed}
}

// A bodyTooLong is the error of a message that was not even tried.
type bodyTooLong struct{ size, most int }

func (e bodyTooLong) Error() string {
	return fmt.Sprintf("a body of %d bytes is over max_bytes (%d)", e.size, e.most)
}

// publish sends messages that fit: on the caller's goroutine where the client can be interrupted, else off it.
func (c *conn) publish(ctx context.Context, msgs []brokers.Message) error {
	p := c.publication(ctx)
	p.begin(ctx, msgs)
	switch {
	case p.line != nil:
		p.line.watch(ctx)
		p.run()
		p.blame(ctx.Err())
		return c.finish(p)
	case ctx.Done() == nil:
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
		// The client may still read the messages and use the commands: p is never used again.
		return p.abandon(ctx.Err())
	}
}

// publication returns one that was used before, if possible with a context that ends like ctx, or a new one.
func (c *conn) publication(ctx context.Context) *publication {
	if p := c.free.take(ctx); p != nil {
		return p
	}
	p := &publication{client: c.pub, newCommand: c.command, before: c.before, done: make(chan error, 1)}
	if c.ownLine != nil {
		p.line, p.client = c.ownLine(0)
		if c.plain {
			p.line.exchange = newExchange()
		}
	}
	return p
}

// ended is finish after a run on another goroutine, which may have panicked: then p is never used again.
func (c *conn) ended(p *publication, err error) error {
	if err != nil {
		return p.abandon(err)
	}
	return c.finish(p)
}

// finish returns the outcome of a publication that has run, and keeps it for the next one.
func (c *conn) finish(p *publication) error {
	failed := p.failed
	p.ctx, p.msgs, p.failed = nil, nil, nil
	if !c.free.put(p) && p.line != nil {
		p.line.unwatch()
		c.disown(p.client)
	}
	if len(failed) == 0 {
		return nil
	}
	return &brokers.BatchError{Failed: failed}
}
