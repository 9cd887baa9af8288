package bus

import (
	"context"
	"errors"
	"fmt"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/schema"
	"github.com/eventbus-go/eventbus/store/deadletter"
)

// DeadLetters returns the store of dead letters, nil where there is none: for deadletter.Groups, List, Show, Redrive and Purge.
func (b *Bus) DeadLetters() deadletter.Store {
	if b.keeper == nil {
		return nil
	}
	return b.keeper.store
}

// ToSubscription hands letters to the subscription of this bus that failed, and to no other: a deadletter.Sender for
// deadletter.Redrive. It returns once each of them is handled, or given up again, in which case its letter was written again. The
// other way is deadletter.ToChannel(b.Send), by which every subscription of the channel sees the event again.
//
// A letter of a subscription with KeepOrder is handled where it is the first of its line by then, and removed at once; else it stays.
//
// It returns an error, and leaves the letters as they are, where the bus does not run, or has no subscription of that name, or
// it is paused, or shuts down before they are handled.
func (b *Bus) ToSubscription(ctx context.Context, letters []deadletter.Letter) error {
	back := &returned{letters: letters, left: make(chan error, len(letters))}
	sent := 0
	var errs []error
	for i := range letters {
		if err := b.redeliver(ctx, &letters[i], back, i); err != nil {
			errs = append(errs, err)
			break
		}
		sent++
	}
	return errors.Join(append(errs, back.await(ctx, sent))...)
}

// redeliver puts a letter into its subscription's lanes, behind what is there, once there is room.
func (b *Bus) redeliver(ctx context.Context, l *deadletter.Letter, to *returned, seq int) error {
	b.mu.Lock()
	c, runs := b.subs[l.Subscription], b.run != nil
	b.mu.Unlock()
	if c == nil || !runs {
		return fmt.Errorf("bus: the subscription %q of the dead letter %s does not run here: redrive it where it runs, or to the "+
			"channel", l.Subscription, l.ID)
	}
	d := brokers.Delivery{
		Message: brokers.Message{Channel: l.Channel, Key: l.Key, Body: l.Body}, Position: "dead letter " + l.ID,
		Token: brokers.Token{Seq: uint64(seq)}, Settler: to,
	}
	it := new(item)
	c.peek(c.feedOf(l), it, &d)
	c.sched.mu.Lock()
	defer c.sched.mu.Unlock()
	if err := c.roomFor(ctx, len(l.Body)); err != nil {
		return err
	}
	c.take(c.feedOf(l), it, &d)
	return nil
}

// roomFor waits for room for a letter, for as long as the subscription would take it. It is called with the scheduler's lock held, and
// gives it up while it waits.
func (c *consumer) roomFor(ctx context.Context, bytes int) error {
	s := c.sched
	defer context.AfterFunc(ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.room.Broadcast()
	})()
	for {
		var err error
		switch {
		case s.draining:
			err = ErrClosed
		case s.halted:
			err = fmt.Errorf("bus: the subscription %q is paused: resume it before its dead letters are sent to it", c.name)
		case s.hasRoom(bytes):
			return nil
		default:
			err = context.Cause(ctx)
		}
		if err != nil {
			s.room.Signal() // what woke this one may have been meant for a feed
			return err
		}
		s.room.Wait()
	}
}

// feedOf returns the feed that a letter came from, or the first where it reads that broker no more.
func (c *consumer) feedOf(l *deadletter.Letter) *feed {
	for _, f := range c.feeds {
		if f.link.tag == l.BrokerName {
			return f
		}
	}
	return c.feeds[0]
}

// A returned settles what ToSubscription has sent.
type returned struct {
	letters []deadletter.Letter // by the tokens
	left    chan error
}

// await waits for what becomes of n letters, until ctx ends.
func (r *returned) await(ctx context.Context, n int) error {
	var errs []error
	for range n {
		select {
		case err := <-r.left:
			errs = append(errs, err)
			continue
		case <-ctx.Done():
		}
		select {
		case err := <-r.left: // both have come true: a letter that is handled must not look like one that is not
			errs = append(errs, err)
		default:
			return errors.Join(append(errs, context.Cause(ctx))...)
		}
	}
	return errors.Join(errs...)
}

var errNotHandled = errors.New("bus: the subscription shuts down: the dead letter was not handled")

// Settle implements brokers.Settler.
func (r *returned) Settle(_ context.Context, settlements []brokers.Settlement) error {
	for _, s := range settlements {
		if s.Verdict == brokers.Redeliver {
			r.left <- errNotHandled
		} else {
			r.left <- nil
		}
	}
	return nil
}

// isRedrive reports whether an item is a dead letter that ToSubscription has sent: no broker takes it back for later.
func (it *item) isRedrive() bool {
	_, ok := it.settler.(*returned)
	return ok
}

// EditedFrom is the metadata key in which an edited event names the id of the one that it was made of.
const EditedFrom = "edited_from"

// EditLetter makes an event of a dead letter, changed by change. It has no id, so that it gets a new one when it is published,
// and its metadata names the old one under EditedFrom. Publish it, and then remove the letter with deadletter.Purge.
func EditLetter(l deadletter.Letter, change func(e *schema.Event) error) (schema.Event, error) {
	if l.EventID == "" || !l.Whole() {
		return schema.Event{}, errors.New("bus: this dead letter is no whole event: there is nothing to edit")
	}
	e, err := schema.Decode(l.Body, len(l.Body))
	if err != nil {
		return schema.Event{}, err
	}
	if err := change(&e); err != nil {
		return schema.Event{}, err
	}
	e.ID = ""
	err = e.Metadata.Set(EditedFrom, l.EventID)
	return e, err
}
