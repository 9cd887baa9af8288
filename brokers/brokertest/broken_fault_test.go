package brokertest

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
)

const (
	caseOverflow = "a sink that blocks misses nothing silently"
	caseCut      = "a lost connection is re-established, and what was missed meanwhile is a gap"
	caseKilled   = "a broker that dies and comes back is a gap, and no outcome is wrong"
	caseThawed   = "delivery goes on after the broker has thawed, and nothing is missed silently"
)

// A gapTap changes gaps on their way.
type gapTap struct {
	brokers.Sink
	change func(g brokers.Gap, next func(brokers.Gap))
}

func (t *gapTap) Gap(g brokers.Gap) { t.change(g, t.Sink.Gap) }

func onGap(change func(g brokers.Gap, next func(brokers.Gap))) breaker {
	return onSubscribe(func(ctx context.Context, s brokers.Subscription, sink brokers.Sink, next subscribeFunc) error {
		return next(ctx, s, &gapTap{sink, change})
	})
}

// overflowing changes the gap of an overflow that is sure to come: Publish does not give up, however busy the machine is.
func overflowing(change func(g brokers.Gap, next func(brokers.Gap))) breaker {
	return func(e *env) func(*wrapped) {
		changes := onGap(change)(e)
		return func(w *wrapped) {
			changes(w)
			w.publish = func(ctx context.Context, msgs []brokers.Message, next publishFunc) error {
				return next(context.WithoutCancel(ctx), msgs)
			}
		}
	}
}

func swallow(brokers.Gap, func(brokers.Gap)) {}

// deadAfter delivers nothing once the fault has happened.
func deadAfter(fault func(h *Harness) *func() error) breaker {
	return func(e *env) func(*wrapped) {
		var dead atomic.Bool
		f := fault(e.h)
		cause := *f
		*f = func() error {
			dead.Store(true)
			return cause()
		}
		return onDelivery(func(batch []brokers.Delivery) []brokers.Delivery {
			if dead.Load() {
				return nil
			}
			return batch
		})(e)
	}
}

// whileFrozen puts f in Publish's place while the broker is frozen.
func whileFrozen(f func(ctx context.Context, e *env, msgs []brokers.Message) error) breaker {
	return func(e *env) func(*wrapped) {
		frozen := frozenFlag(e)
		return onPublish(func(ctx context.Context, msgs []brokers.Message, next publishFunc) error {
			if frozen.Load() {
				return f(ctx, e, msgs)
			}
			return next(ctx, msgs)
		})(e)
	}
}

func takesAll(context.Context, *env, []brokers.Message) error { return nil }

func frozenFlag(e *env) *atomic.Bool {
	var frozen atomic.Bool
	freeze, thaw := e.h.Freeze, e.h.Thaw
	e.h.Freeze = func() error { frozen.Store(true); return freeze() }
	e.h.Thaw = func() error { frozen.Store(false); return thaw() }
	return &frozen
}

var faultBreaches = []breach{
	{"swallows the gap of an overflow", modest, caseOverflow, overflowing(swallow)},
	{"counts too few in the gap of an overflow", modest,
		caseOverflow, overflowing(func(g brokers.Gap, next func(brokers.Gap)) {
			g.Missed /= 2
			next(g)
		})},
	{"gives a gap a reason that nobody knows", modest, caseOverflow, overflowing(func(g brokers.Gap, next func(brokers.Gap)) {
		g.Reason = "because"
		next(g)
	})},
	{"gives a gap an end before its beginning", modest, caseOverflow, overflowing(func(g brokers.Gap, next func(brokers.Gap)) {
		g.Since, g.Until = g.Until.Add(time.Second), g.Since
		next(g)
	})},
	{"swallows the gap of a lost connection", modest, caseCut, onGap(swallow)},
	{"does not resubscribe after a lost connection", modest,
		caseCut, deadAfter(func(h *Harness) *func() error { return &h.Cut })},
	{"swallows the gap of a dead broker", modest, caseKilled, onGap(swallow)},
	{"does not resubscribe after the broker's death", modest,
		caseKilled, deadAfter(func(h *Harness) *func() error { return &h.Kill })},
	{"loses messages to a lost connection although it is durable", rich,
		"a durable subscription loses nothing to a lost connection",
		deadAfter(func(h *Harness) *func() error { return &h.Cut })},
	{"holds Publish while the broker is frozen", modest,
		"Publish returns with its context although the broker is frozen",
		whileFrozen(func(ctx context.Context, e *env, msgs []brokers.Message) error {
			e.stuck()
			return brokers.FailAll(len(msgs), brokers.Unknown, ctx.Err())
		})},
	{"says that a frozen broker took a message", modest,
		"Publish returns with its context although the broker is frozen",
		whileFrozen(takesAll)},
	{"holds Close while the broker is frozen", rich, "Close returns by its deadline although the broker is frozen",
		func(e *env) func(*wrapped) {
			frozen := frozenFlag(e)
			return func(w *wrapped) {
				w.close = func(ctx context.Context, next closeFunc) error {
					if frozen.Load() {
						e.stuck()
					}
					return next(ctx)
				}
			}
		}},
	{"delivers nothing after the thaw", modest,
		caseThawed, deadAfter(func(h *Harness) *func() error { return &h.Thaw })},
	{"confirms what it forgets while the broker is frozen", modest, caseThawed,
		whileFrozen(takesAll)},
}
