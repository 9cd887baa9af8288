package brokertest

import (
	"context"
	"hash/maphash"

	"github.com/eventbus-go/eventbus/brokers"
)

// A crew handles deliveries in several goroutines, those of one key in the same one, and settles what it has handled, as
// the bus does. Its goroutines end with the case.
type crew struct {
	w      *world
	seed   maphash.Seed
	queues []chan brokers.Delivery
	handle func(d brokers.Delivery) brokers.Settlement
}

// crewQueue is more than a consumer of a crew is sent at once.
const crewQueue = 1024

func (w *world) crew(n int, handle func(d brokers.Delivery) brokers.Settlement) *crew {
	c := &crew{w: w, seed: maphash.MakeSeed(), handle: handle}
	for range n {
		q := make(chan brokers.Delivery, crewQueue)
		c.queues = append(c.queues, q)
		go c.work(q)
	}
	return c
}

// take is an option for a subscriber whose deliveries the crew handles.
func (c *crew) take(s *subscriber) {
	s.forgets = true
	s.onDeliver = func(batch []brokers.Delivery) {
		for _, d := range batch {
			q := c.queues[maphash.String(c.seed, d.Key)%uint64(len(c.queues))]
			select {
			case q <- d:
			case <-c.w.ctx.Done():
				return
			}
		}
	}
}

func (c *crew) work(q <-chan brokers.Delivery) {
	for {
		select {
		case <-c.w.ctx.Done():
			return
		case d := <-q:
			c.settle(append([]brokers.Delivery{d}, more(q)...))
		}
	}
}

// more returns what else waits in q, up to a bound.
func more(q <-chan brokers.Delivery) (out []brokers.Delivery) {
	for len(out) < 63 {
		select {
		case d := <-q:
			out = append(out, d)
		default:
			return out
		}
	}
	return out
}

// settle handles a batch in order and settles it, in one call for each settler.
func (c *crew) settle(batch []brokers.Delivery) {
	var by brokers.Settler
	var list []brokers.Settlement
	flush := func() {
		if by == nil {
			return
		}
		ctx, cancel := context.WithTimeout(c.w.ctx, c.w.h.Patience)
		defer cancel()
		_ = by.Settle(ctx, list) // what was not settled comes again
		list = nil
	}
	for _, d := range batch {
		s := c.handle(d)
		if d.Settler == nil {
			continue
		}
		if by != d.Settler {
			flush()
			by = d.Settler
		}
		list = append(list, s)
	}
	flush()
}
