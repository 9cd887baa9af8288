package watermill

import (
	"context"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/ThreeDotsLabs/watermill/components/delay"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/router"
)

// work hands out one message after the other until the feed stops.
func (f *feed) work() {
	for {
		it, ok := f.take()
		if !ok {
			return
		}
		f.handle(&it)
		f.release(&it)
	}
}

// take returns the first message whose key is with no other worker.
func (f *feed) take() (item, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for !f.stopped {
		for i := range f.pending {
			it := f.pending[i]
			if it.key != "" && f.busy[it.key] {
				continue
			}
			f.pending = slices.Delete(f.pending, i, i+1)
			f.busy[it.key] = true
			f.room.Signal()
			return it, true
		}
		f.arrived.Wait()
	}
	return item{}, false
}

// release lets the next message of the key go. It wakes nobody: the worker that calls it looks for one next, and what it leaves,
// because it finds something earlier, is left to the worker that the earlier one has woken.
func (f *feed) release(it *item) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.busy, it.key)
}

// handle hands out a message until it is acked or leaves this process.
func (f *feed) handle(it *item) {
	for ; ; it.attempt++ {
		switch f.attempt(it) {
		case acked:
			f.settle(it, brokers.Ack, 0)
			return
		case failed:
			return
		case ended:
			f.back(it, 0)
			return
		}
		wait := f.wait(it)
		if it.settler != nil && f.sub.caps.Order == brokers.OrderNone {
			f.back(it, wait)
			return
		}
		began := time.Now()
		if !pause(f.stop, wait) {
			f.back(it, max(0, wait-time.Since(began)))
			return
		}
	}
}

func (f *feed) back(it *item, after time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.returnItem(it, after)
}

// wait is how long a message that was nacked waits. A wait of nothing would turn a dependency that is down for a second into
// thousands of attempts, so that half of the ceiling is the least.
func (f *feed) wait(it *item) time.Duration {
	return max(f.sub.cfg.Redelivery.Delay(it.attempt, 0.5+rand.Float64()/2), delayedFor(it.message.Metadata))
}

// An outcome is how an attempt ended.
type outcome uint8

const (
	acked  outcome = iota
	nacked         // and so is what failed and has to be kept
	failed         // and is settled
	ended          // the feed stopped before the message was handed out, or had to stop waiting for it
)

// attempt hands a message out once, or gives it up.
func (f *feed) attempt(it *item) outcome {
	cause := it.bad
	if cause == nil {
		o := f.hand(it)
		if most := f.sub.cfg.MaxAttempts; o != nacked || most <= 0 || it.attempt < most {
			return o
		}
		cause = ErrAttempts
	}
	if f.fail(it, cause) {
		return failed
	}
	return nacked
}

// hand hands out one copy of a message and waits for what becomes of it.
func (f *feed) hand(it *item) outcome {
	ctx, cancel := context.WithCancel(f.values)
	defer cancel()
	if it.attempt > 1 {
		ctx = router.WithAttempt(ctx, it.attempt)
	}
	msg := it.copy()
	msg.SetContext(ctx)
	if !f.send(msg) {
		return ended
	}
	o := f.outcomeOf(msg)
	if o == nacked {
		keepDelay(it.message.Metadata, msg.Metadata)
	}
	return o
}

// outcomeOf waits for what becomes of a message that is handed out.
func (f *feed) outcomeOf(msg *message.Message) outcome {
	select {
	case <-msg.Acked():
	case <-msg.Nacked():
	case <-f.late:
	}
	switch { // of several that have come true: what is acked must not come again
	case isClosed(msg.Acked()):
		return acked
	case isClosed(msg.Nacked()):
		return nacked
	default:
		return ended
	}
}

// copy returns a message that whoever gets it may change.
func (it *item) copy() *message.Message {
	msg := message.NewMessage(it.message.UUID, it.message.Payload)
	msg.Metadata = maps.Clone(it.message.Metadata)
	return msg
}

// keepDelay carries what Watermill's DelayOnError has put into a message over to the next attempt, from where it grows.
func keepDelay(to, from message.Metadata) {
	for _, key := range []string{delay.DelayedForKey, delay.DelayedUntilKey} {
		if v := from[key]; v != "" {
			to[key] = v
		}
	}
}

// send sends a message to whoever receives, and reports whether it was taken before the feed stopped.
func (f *feed) send(msg *message.Message) (taken bool) {
	f.mu.Lock()
	if f.stopped {
		f.mu.Unlock()
		return false
	}
	f.sending++
	f.mu.Unlock()
	select {
	case f.out <- msg:
		taken = true
	case <-f.stop:
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.sending--; f.stopped && f.sending == 0 {
		close(f.out)
	}
	return taken
}
