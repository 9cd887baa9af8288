package bus

import (
	"errors"
	"fmt"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/router"
	"github.com/eventbus-go/eventbus/store/deadletter"
)

// This file is the option KeepOrder: where an event is a dead letter, the later ones of its key wait behind it, in a line of the store of
// dead letters, which all processes of the group share. Before an event is handled the store is asked whether its key has a line:
//
//   - There is none: it is handled.
//   - There is one: it is put behind, and acknowledged. That is one step of the store. Suppose a redrive had the last letter of the line
//     handled and removed in between: then the line is gone, nothing is put, and the event is handled.
//   - The event stands in it itself: its process was killed between the write of the letter and the ack. It is acknowledged.
//
// A redrive hands the letters of a line over in order. Each is handled if it is the first of its line by then, and removed before the next
// one is looked at, so that behind one that fails again all others stay.

// errBehind is the error in the letter of an event that was not tried.
var errBehind = errors.New("an earlier event of its key is in the dead letters")

// checkKeepOrder refuses KeepOrder where it cannot be had.
func (b *Bus) checkKeepOrder(s *Subscription, feeds []*feed) error {
	if !s.KeepOrder {
		return nil
	}
	ordered := func(c brokers.Capabilities) bool { return c.Groups && c.Order != brokers.OrderNone }
	durable := false
	for _, f := range feeds {
		if !ordered(f.link.caps) {
			return fmt.Errorf("%w; or leave KeepOrder out, and a redrive sends events when later ones of their key are done", &brokers.CapabilityError{
				Subscription: s.Name, Needs: "the order of a key in consumer groups, for KeepOrder", Name: f.link.tag, Broker: f.link.scheme,
				Could: brokers.Promising(ordered),
			})
		}
		durable = durable || f.link.caps.Durable
	}
	if s.Group == "" {
		return errors.New("KeepOrder needs a Group, whose processes share the order: set one")
	}
	anyOrder := s.Retry.AnyOrder
	for _, e := range s.Retry.Errors {
		anyOrder = anyOrder || e.Policy.AnyOrder
	}
	if anyOrder {
		return errors.New("KeepOrder and a retry policy in any order contradict each other: leave out either")
	}
	if b.keeper == nil {
		return errors.New("KeepOrder needs dead letters, which are off: set dead_letters to a URL such as redis://localhost:6379")
	}
	_, inMemory := b.keeper.store.(*deadletter.Memory)
	if _, lines := b.keeper.store.(deadletter.LineStore); !lines || inMemory && durable {
		return errors.New("KeepOrder needs dead letters that all processes of the group share: set dead_letters to a URL such as " +
			"redis://localhost:6379")
	}
	return nil
}

// lines is the store of the lines. It is there where the subscription keeps order.
func (c *consumer) lines() deadletter.LineStore { return c.bus.keeper.store.(deadletter.LineStore) }

// inLine puts an item behind its line, where there is one, and reports what becomes of it: false where it is to be handled. It is called
// without the lock.
func (c *consumer) inLine(it *item) (o outcome, decided bool) {
	if !c.sub.KeepOrder || it.bad != "" {
		return 0, false
	}
	var stands, again bool
	ok := c.insist(func() (err error) {
		stands, again, err = c.standsInLine(it)
		return err
	})
	switch {
	case !ok:
		return outcomeInterrupted, true
	case again:
		return outcomeDuplicate, true
	case stands:
		return outcomeBehind, true
	}
	return 0, false
}

// standsInLine looks for the item's line, and puts the item behind it. again says that the item is a letter that stands in it no more.
func (c *consumer) standsInLine(it *item) (stands, again bool, err error) {
	l := it.letter()
	if l != nil && !l.KeepOrder {
		return false, false, nil // it was written when the subscription did not keep order
	}
	ctx, cancel := c.bus.keeper.limited(c.ctx)
	defer cancel()
	first, err := c.lines().Line(ctx, c.name, it.eventKey(), 1)
	if l != nil {
		// Where the line is gone, or another letter of it was removed before this one, somebody else has handled it.
		return len(first) > 0 && first[0].ID != l.ID, len(first) == 0, err
	}
	if err != nil || len(first) == 0 {
		return false, false, err
	}
	behind := c.letter(it, errBehind)
	behind.Reason, behind.Attempts = deadletter.ReasonBehind, 0
	stands, err = c.lines().PutBehind(ctx, behind)
	return stands, false, err
}

// leaveLine removes the letter of an item that is done with, so that the next one of its line is the first. Where that does not work
// before the shutdown, the letter stays, and its event is handled again by the next redrive.
func (c *consumer) leaveLine(it *item) {
	l := it.letter()
	if l == nil || !l.KeepOrder {
		return
	}
	c.insist(func() error {
		ctx, cancel := c.bus.keeper.limited(c.ctx)
		defer cancel()
		_, err := c.lines().Remove(ctx, *l)
		return err
	})
}

// letter is the dead letter that ToSubscription has made the item of, or nil.
func (it *item) letter() *deadletter.Letter {
	if r, ok := it.settler.(*returned); ok {
		return &r.letters[it.token.Seq]
	}
	return nil
}

// insist does something with the store of dead letters until it works, with a try each second, while the subscription pauses. It reports
// false where the subscription shuts down before. It is called without the lock.
func (c *consumer) insist(do func() error) bool {
	if c.tried(do) {
		return true
	}
	c.sched.pause()
	defer c.sched.resume()
	t := time.NewTimer(keepEvery)
	defer t.Stop()
	for {
		select {
		case <-c.ctx.Done():
			return false
		case <-router.Draining(c.ctx):
			return false
		case <-t.C:
		}
		if c.tried(do) {
			return true
		}
		t.Reset(keepEvery)
	}
}

// tried does it once, and has the keeper remember whether that worked.
func (c *consumer) tried(do func() error) bool {
	err := c.bus.keeper.ask(do)
	c.bus.keeper.result(err, 0)
	return err == nil
}
