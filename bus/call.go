package bus

import (
	"sync"

	"github.com/eventbus-go/eventbus/brokers"
)

// A call is one Publish or Send that waits for its messages. Each of them has a slot.
type call struct {
	done chan struct{} // closed when every slot has its outcome

	mu       sync.Mutex
	left     int
	gaveUp   bool // its caller waits no longer
	failed   int
	outcomes []Outcome
}

// newCall makes a call with a slot for each channel of each packed event, in their order.
func newCall(p *packer) *call {
	c := &call{done: make(chan struct{})}
	for i := range p.packed {
		ev := &p.packed[i]
		for _, channel := range ev.channels {
			c.outcomes = append(c.outcomes, Outcome{
				EventID: ev.id, EventType: ev.typ, Channel: channel, State: brokers.Unknown,
			})
		}
	}
	c.left = len(c.outcomes)
	return c
}

// settleFrom records that the messages from the given slot on were never queued.
func (c *call) settleFrom(slot int, err error) {
	for ; slot < len(c.outcomes); slot++ {
		c.settle(slot, brokers.NotSent, err)
	}
}

// settle records the outcome of a slot; the last one ends the call.
func (c *call) settle(slot int, state brokers.Outcome, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.outcomes[slot].State, c.outcomes[slot].Err = state, err
	if state != brokers.Confirmed {
		c.failed++
	}
	if c.left--; c.left == 0 {
		close(c.done)
	}
}

// result returns nil where every message was confirmed, else a copy of what is known now. Slots that are still on their
// way say Unknown, with pending as the reason.
func (c *call) result(pending error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left == 0 && c.failed == 0 {
		return nil
	}
	out := make([]Outcome, len(c.outcomes))
	copy(out, c.outcomes)
	for i := range out {
		if out[i].State == brokers.Unknown && out[i].Err == nil {
			out[i].Err = pending
		}
	}
	return &PublishError{Outcomes: out}
}

// giveUp says that the caller waits no longer: what was not sent yet need not be.
func (c *call) giveUp() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gaveUp = true
}

func (c *call) canceled() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.gaveUp
}
