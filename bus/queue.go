package bus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
)

// queue puts what is packed into its lanes, and waits for room where there is none. It returns why it ended early: ctx or
// the limit did, and there is nothing to wait for any more.
//
// A lane that has no room holds up what goes out by its own exit, and nothing of other brokers: what fits is queued first.
func (b *Bus) queue(ctx context.Context, limit <-chan time.Time, p *packer, c *call) error {
	if len(b.exits) == 1 {
		return b.queueOn(ctx, limit, p, c, 0, 0)
	}
	var full []int // exits
	from := make([]int, len(b.exits))
	for i := range p.packed {
		ev := &p.packed[i]
		if slices.Contains(full, ev.exit) {
			continue // it keeps its place behind what waits
		}
		err := b.exits[ev.exit].lane(ev.key).publish(ctx, noWait, ev, p.body(ev), c, ev.slot)
		if err != nil {
			full, from[ev.exit] = append(full, ev.exit), i
		}
	}
	return b.queueRest(ctx, limit, p, c, full, from)
}

// noWait is a limit that has passed.
var noWait = func() <-chan time.Time {
	passed := make(chan time.Time)
	close(passed)
	return passed
}()

// queueRest queues what did not fit at once, from the given places on, of several exits at the same time.
func (b *Bus) queueRest(ctx context.Context, limit <-chan time.Time, p *packer, c *call, full, from []int) error {
	switch len(full) {
	case 0:
		return nil
	case 1:
		return b.queueOn(ctx, limit, p, c, full[0], from[full[0]])
	}
	both, end := context.WithCancelCause(ctx)
	defer end(nil)
	var all sync.WaitGroup
	errs := make([]error, len(full))
	for i, exit := range full {
		all.Go(func() { errs[i] = b.queueOn(both, nil, p, c, exit, from[exit]) })
	}
	queued := make(chan struct{})
	go func() { all.Wait(); close(queued) }()
	select {
	case <-queued:
	case <-limit:
		end(errPublishTimeout)
		<-queued // at once: nothing but the lanes' locks is waited for any more
	}
	return cmp.Or(errs...)
}

// queueOn queues what leaves by one exit, from the given place on. What it does not queue is settled as not sent.
func (b *Bus) queueOn(ctx context.Context, limit <-chan time.Time, p *packer, c *call, exit, from int) error {
	for i := from; i < len(p.packed); i++ {
		ev := &p.packed[i]
		if ev.exit != exit {
			continue
		}
		err := b.exits[exit].lane(ev.key).publish(ctx, limit, ev, p.body(ev), c, ev.slot)
		if err == nil {
			continue
		}
		_ = b.refuse(err, p.skip(c, exit, i, err))
		if errors.Is(err, ErrClosed) {
			return nil // what is queued is still sent
		}
		return err
	}
	return nil
}

// skip settles what leaves by an exit, from the given place on, as not sent, and returns how many events that is.
func (p *packer) skip(c *call, exit, from int, err error) (events int) {
	for i := from; i < len(p.packed); i++ {
		ev := &p.packed[i]
		if ev.exit != exit {
			continue
		}
		events++
		for k := range ev.channels {
			c.settle(ev.slot+k, brokers.NotSent, err)
		}
	}
	return events
}

// uses reports whether any of the packed events leaves by an exit.
func (p *packer) uses(exit int) bool {
	return slices.ContainsFunc(p.packed, func(ev packed) bool { return ev.exit == exit })
}

// exitOf returns the exit of a message that is given to Send.
func (b *Bus) exitOf(m *brokers.Message) (int, error) {
	exits := b.router.ExitsOf(m.Channel)
	if m.Broker == "" {
		switch len(exits) {
		case 0:
			return 0, nil
		case 1:
			return exits[0], nil
		}
		return 0, fmt.Errorf("channel %s is on the brokers %s: say in the message's Broker which one is meant",
			m.Channel, listed(b.brokersOf(exits)))
	}
	for _, i := range exits {
		if b.exits[i].link.name == m.Broker {
			return i, nil
		}
	}
	for i, l := range b.links {
		if l.name == m.Broker {
			return i, nil // the exit of a broker by itself has the broker's number
		}
	}
	return 0, fmt.Errorf("there is no broker %q: name one of %s", m.Broker, listed(b.brokersOf(nil)))
}

// brokersOf names the brokers of exits, or all of them.
func (b *Bus) brokersOf(exits []int) (names []string) {
	for _, i := range exits {
		names = append(names, b.exits[i].link.name)
	}
	if exits == nil {
		for _, l := range b.links {
			names = append(names, l.name)
		}
	}
	return names
}
