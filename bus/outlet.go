package bus

import (
	"context"
	"hash/maphash"
	"sync"

	"github.com/eventbus-go/eventbus/brokers"
)

// An outlet is the publishing side of one broker connection: its lanes, each with the goroutine that sends from it.
type outlet struct {
	conn    brokers.Conn
	lanes   []*lane
	seed    maphash.Seed
	abandon context.CancelFunc
	done    sync.WaitGroup
}

// newOutlet starts the lanes. They end by close, not with ctx, of which only the values are used.
func newOutlet(ctx context.Context, conn brokers.Conn, cfg LaneConfig, report dropReporter, panics func(string, any)) *outlet {
	ctx, abandon := context.WithCancel(context.WithoutCancel(ctx))
	o := &outlet{conn: conn, seed: maphash.MakeSeed(), abandon: abandon}
	durable := conn.Capabilities().Durable
	for range cfg.Lanes {
		l := newLane(cfg, report)
		s := &sender{lane: l, conn: conn, durable: durable, panics: panics, abandon: ctx}
		o.lanes = append(o.lanes, l)
		o.done.Go(s.run)
	}
	return o
}

// lane returns the lane of a key: always the same one, which is what keeps the key's order.
func (o *outlet) lane(key string) *lane {
	return o.lanes[maphash.String(o.seed, key)%uint64(len(o.lanes))]
}

// close refuses further events, sends what is queued until ctx ends, and gives up the rest. It returns how many messages
// were given up.
func (o *outlet) close(ctx context.Context) (dropped int64) {
	for _, l := range o.lanes {
		l.close()
	}
	stop := context.AfterFunc(ctx, o.abandon)
	o.done.Wait()
	stop()
	o.abandon()
	return o.snapshot().Dropped[DropClosed]
}

func (o *outlet) snapshot() Ledger {
	var sum Ledger
	for _, l := range o.lanes {
		sum.add(l.snapshot())
	}
	return sum
}
