package bus

import (
	"context"
	"log/slog"
	"sync"

	"github.com/eventbus-go/eventbus/brokers"
)

// maxSettlements is how many settlements one call of a driver carries.
const maxSettlements = 1000

// A settleQueue tells a broker what became of its deliveries, many at once, from a goroutine of its own: while one call is
// under way the next batch forms. It is bounded by what a subscription may hold unsettled.
type settleQueue struct {
	note  func(kind string, level slog.Level, message string, attrs ...any)
	guard func(where string, f func()) error // contains panics of the driver
	ctx   context.Context                    // ends when Close's deadline has passed

	mu      sync.Mutex
	pending []settlement
	busy    bool // its goroutine runs
	idle    sync.Cond
	batch   []brokers.Settlement
}

type settlement struct {
	settler brokers.Settler
	what    brokers.Settlement
}

func newSettleQueue(ctx context.Context, f *feed) *settleQueue {
	q := &settleQueue{note: f.note, guard: f.link.guard, ctx: ctx}
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
	var work []settlement
	for {
		q.mu.Lock()
		clear(work)
		work, q.pending = q.pending, work[:0]
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
	for len(work) > 0 {
		settler := work[0].settler
		q.batch = q.batch[:0]
		for len(work) > 0 && work[0].settler == settler && len(q.batch) < maxSettlements {
			q.batch = append(q.batch, work[0].what)
			work = work[1:]
		}
		var err error
		if p := q.guard("driver", func() { err = settler.Settle(q.ctx, q.batch) }); p != nil {
			err = p
		}
		if err != nil {
			q.note("settle", slog.LevelWarn, "settling failed: these events will be delivered again", "err", err)
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
