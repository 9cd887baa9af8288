package watermill

import (
	"context"
	"sync"

	"github.com/eventbus-go/eventbus/brokers"
)

// maxSettlements is how many settlements one call of a driver carries.
const maxSettlements = 1000

// A settleQueue tells a broker what became of its deliveries, many at once, from a goroutine of its own: while one call is
// under way the next batch forms. It is bounded by what a subscription may hold unsettled.
type settleQueue struct {
	ctx    context.Context
	failed func(error)

	mu      sync.Mutex
	pending []settlement
	busy    bool // its goroutine runs
	idle    sync.Cond
}

type settlement struct {
	settler brokers.Settler
	what    brokers.Settlement
}

func newSettleQueue(ctx context.Context, failed func(error)) *settleQueue {
	q := &settleQueue{ctx: ctx, failed: failed}
	q.idle.L = &q.mu
	return q
}

// add queues a settlement and starts the goroutine where none runs.
func (q *settleQueue) add(s brokers.Settler, what brokers.Settlement) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.pending = append(q.pending, settlement{s, what})
	if !q.busy {
		q.busy = true
		go q.run()
	}
}

// run settles until nothing is pending.
func (q *settleQueue) run() {
	for {
		q.mu.Lock()
		work := q.pending
		q.pending = nil
		if len(work) == 0 {
			q.busy = false
			q.idle.Broadcast()
			q.mu.Unlock()
			return
		}
		q.mu.Unlock()
		q.settle(work)
	}
}

// settle makes one call for each run of settlements with the same settler.
func (q *settleQueue) settle(work []settlement) {
	var batch []brokers.Settlement
	for len(work) > 0 {
		settler := work[0].settler
		batch = batch[:0]
		for len(work) > 0 && work[0].settler == settler && len(batch) < maxSettlements {
			batch = append(batch, work[0].what)
			work = work[1:]
		}
		if err := settler.Settle(q.ctx, batch); err != nil {
			q.failed(err)
		}
	}
}

// wait returns once nothing is pending.
func (q *settleQueue) wait() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.busy {
		q.idle.Wait()
	}
}
