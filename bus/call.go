package bus

import (
	"sync"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
)

// A call is one Publish or Send that waits for its messages. Each of them has a slot, in the order of the packed events and
// their channels.
type call struct {
	done chan struct{} // has one element when every slot has its outcome

	mu     sync.Mutex
	left   int // slots without an outcome
	failed int
	gaveUp error // why its caller waits no longer; nil while it does
	slots  []slot
}

type slot struct {
	state brokers.Outcome
	err   error
}

// newCall returns a call with n slots.
func newCall(n int) *call {
	c := &call{done: make(chan struct{}, 1)}
	c.begin(n)
	return c
}

func (c *call) begin(n int) {
	c.left, c.failed, c.gaveUp = n, 0, nil
	for range n {
		c.slots = append(c.slots, slot{state: brokers.Unknown})
	}
}

// A callPool has what the calls of one bus leave for later ones: themselves, and the timers of those without a deadline.
type callPool struct{ calls, timers sync.Pool }

// get returns a call with n slots.
func (p *callPool) get(n int) *call {
	c, ok := p.calls.Get().(*call)
	if !ok {
		return newCall(n)
	}
	c.begin(n)
	return c
}

// put gives a call back. A call whose every slot had its outcome is referred to by nobody else; one that was not done is
// still referred to by lanes, and is left to the garbage collector.
func (p *callPool) put(c *call) {
	c.mu.Lock()
	done := c.left == 0
	c.mu.Unlock()
	if !done || len(c.slots) > defaultBatch.Messages {
		return
	}
	select {
	case <-c.done: // it was done after its caller had given up
	default:
	}
	clear(c.slots)
	c.slots = c.slots[:0]
	p.calls.Put(c)
}

// timer returns a timer that ends after d.
func (p *callPool) timer(d time.Duration) *time.Timer {
	t, ok := p.timers.Get().(*time.Timer)
	if !ok {
		return time.NewTimer(d)
	}
	t.Reset(d)
	return t
}

func (p *callPool) putTimer(t *time.Timer) {
	t.Stop()
	p.timers.Put(t)
}

// settle records the outcome of a slot; the last one ends the call.
func (c *call) settle(i int, state brokers.Outcome, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.slots[i] = slot{state, err}
	if state != brokers.Confirmed {
		c.failed++
	}
	if c.left--; c.left == 0 {
		c.done <- struct{}{}
	}
}

// result returns nil where every message was confirmed, else what is known now. Slots that are still on their way say
// Unknown, with pending as the reason. p is what the call was made of, and exits are those that its events left by.
func (c *call) result(p *packer, exits []*outlet, pending error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left == 0 && c.failed == 0 {
		return nil
	}
	out := make([]Outcome, 0, len(c.slots))
	for i := range p.packed {
		ev := &p.packed[i]
		for _, channel := range ev.channels {
			s := c.slots[len(out)]
			if s.state == brokers.Unknown && s.err == nil {
				s.err = pending
			}
			out = append(out, Outcome{
				EventID: ev.id, EventType: ev.typ, Broker: exits[ev.exit].link.tag, Channel: channel, State: s.state, Err: s.err,
			})
		}
	}
	return &PublishError{Outcomes: out}
}

// giveUp says that the caller waits no longer, and why: what was not sent yet need not be.
func (c *call) giveUp(cause error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gaveUp = cause
}

// canceled returns why the caller waits no longer; nil while it does.
func (c *call) canceled() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.gaveUp
}
