package bus

import (
	"context"
	"fmt"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/schema"
)

// A Publisher is what services depend on to publish events: it knows no broker. *Bus implements it. Both methods are safe
// for concurrent use, check every event of the call before any of them is sent, and keep no reference to events.
type Publisher interface {
	// Publish sends events and waits until the brokers have taken them. It returns nil where every event was confirmed
	// on every channel that the rules send it to, an *EventError where one of them is refused (then none is sent), or a
	// *PublishError with the outcome of each event on each channel of each broker.
	//
	// It waits while a broker is down, until ctx ends; where ctx has no deadline, for Config.Publish.Timeout. What
	// is still queued then is not sent any more.
	Publish(ctx context.Context, events ...schema.Event) error

	// Emit is fire and forget: it queues events and returns, in a microsecond or two. It does no network I/O, never
	// returns a broker's error, and never blocks unless the lanes are configured to. What happens when a lane is full is
	// the lanes' policy; every drop is counted, logged at a limited rate, and offered to the Dropped hook.
	//
	// It reads values from ctx; a cancelled ctx does not keep the events from being sent. Its error is the caller's own:
	// an *EventError for an event that is invalid or has no route, or ErrClosed. The bus counts and logs those too, so
	// that an operation which must not fail because of its event ignores the error: `_ = b.Emit(ctx, event)`.
	Emit(ctx context.Context, events ...schema.Event) error
}

var _ Publisher = (*Bus)(nil)

// Emit implements [Publisher].
func (b *Bus) Emit(ctx context.Context, events ...schema.Event) error {
	p := b.packers.get()
	defer b.packers.put(p)
	err := b.emit(ctx, p, events)
	b.endTraces(p, err)
	return err
}

func (b *Bus) emit(ctx context.Context, p *packer, events []schema.Event) error {
	if err := b.pack(ctx, p, events); err != nil {
		return b.refuse(err, len(events))
	}
	for i := range p.packed {
		ev := &p.packed[i]
		if err := b.exits[ev.exit].lane(ev.key).emit(ctx, ev, p.body(ev)); err != nil {
			return b.refuse(err, len(events)-ev.index)
		}
	}
	return nil
}

// Publish implements [Publisher].
func (b *Bus) Publish(ctx context.Context, events ...schema.Event) error {
	p := b.packers.get()
	defer b.packers.put(p)
	err := b.pack(ctx, p, events)
	if err != nil {
		err = b.refuse(err, len(events))
	} else {
		err = b.send(ctx, p)
	}
	b.endTraces(p, err)
	return err
}

// Pack does everything that Publish does before it sends: it returns the messages that the events become, one for each
// event and channel, in memory of their own. With [Bus.Send] it is the seam for what stores messages before they are sent.
func (b *Bus) Pack(ctx context.Context, events ...schema.Event) ([]brokers.Message, error) {
	p := &packer{packOnly: true}
	err := b.pack(ctx, p, events)
	b.endTraces(p, err)
	if err != nil {
		return nil, b.refuse(err, len(events))
	}
	return b.messages(p), nil
}

// Send sends messages, made by Pack or kept from a delivery, byte for byte, and waits as Publish does. Messages of one
// Key keep their order. A message goes to the broker that it names, or where it names none to the one that the rules send
// its channel to, which is the default broker where no rule does.
func (b *Bus) Send(ctx context.Context, msgs []brokers.Message) error {
	p := b.packers.get()
	defer b.packers.put(p)
	if err := b.take(p, msgs); err != nil {
		return b.refuse(err, len(msgs))
	}
	return b.send(ctx, p)
}

// send queues what is packed and waits for the outcome.
func (b *Bus) send(ctx context.Context, p *packer) error {
	if len(p.packed) == 0 {
		return nil
	}
	var limit <-chan time.Time
	if _, has := ctx.Deadline(); !has {
		t := b.calls.timer(b.limits.PublishTimeout)
		defer b.calls.putTimer(t)
		limit = t.C
	}
	c := b.calls.get(p.setSlots())
	defer b.calls.put(c)
	return b.await(ctx, limit, b.queue(ctx, limit, p, c), p, c)
}

// await waits for a call's outcome. Where ctx or the limit ends first, or has ended already with the given cause, what is
// still queued is taken back.
func (b *Bus) await(ctx context.Context, limit <-chan time.Time, cause error, p *packer, c *call) error {
	if cause == nil {
		select {
		case <-c.done:
			return c.result(p, b.exits, nil)
		case <-ctx.Done():
			cause = context.Cause(ctx)
		case <-limit:
			cause = errPublishTimeout
		}
	}
	c.giveUp(cause)
	for i, o := range b.exits {
		if !p.uses(i) {
			continue
		}
		for _, l := range o.lanes {
			l.cancel(c)
		}
	}
	return c.result(p, b.exits, cause)
}

// errPublishTimeout is context.DeadlineExceeded to errors.Is.
var errPublishTimeout = fmt.Errorf("publish.timeout has passed: %w", context.DeadlineExceeded)
