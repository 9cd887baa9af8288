package bus

import (
	"context"
	"hash/maphash"
	"sync"
)

// An outlet is one way out: the lanes of what goes to one broker and has one fallback or none, each with the goroutine that
// sends from it.
type outlet struct {
	link     *link
	fallback *link // nil for none
	lanes    []*lane
	seed     maphash.Seed
	abandon  context.CancelFunc
	done     sync.WaitGroup
}

// newOutlet starts the lanes. They end by close, not with ctx, of which only the values are used.
func newOutlet(ctx context.Context, to, fallback *link, cfg LaneConfig, report dropReporter, panics func(string, any)) *outlet {
	ctx, abandon := context.WithCancel(context.WithoutCancel(ctx))
	o := &outlet{link: to, fallback: fallback, seed: maphash.MakeSeed(), abandon: abandon}
	for range cfg.Lanes {
		l := newLane(cfg, to.batch, report)
		s := &sender{lane: l, conn: to.Conn, durable: to.caps.Durable, panics: panics, warn: to.warn, abandon: ctx}
		if fallback != nil {
			s.detour = &detour{Conn: to.Conn, first: to, fallback: fallback}
			s.conn = s.detour
		}
		o.lanes = append(o.lanes, l)
		o.done.Go(s.run)
	}
	return o
}

// uses reports whether the outlet sends to a broker.
func (o *outlet) uses(l *link) bool { return o.link == l || o.fallback == l }

// lane returns the lane of a key: always the same one, which is what keeps the key's order.
func (o *outlet) lane(key string) *lane {
	return o.lanes[maphash.String(o.seed, key)%uint64(len(o.lanes))]
}

// close refuses further events, sends what is queued until ctx ends, and gives up the rest.
func (o *outlet) close(ctx context.Context) {
	for _, l := range o.lanes {
		l.close()
	}
	stop := context.AfterFunc(ctx, o.abandon)
	o.done.Wait()
	stop()
	o.abandon()
}

func (o *outlet) snapshot() Ledger {
	var sum Ledger
	for _, l := range o.lanes {
		sum.add(l.snapshot())
	}
	return sum
}
