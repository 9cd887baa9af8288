package brokertest

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/eventbus-go/eventbus/brokers"
)

const (
	caseTwice = "a broker that is killed twice under load loses nothing that it took"
	caseLong  = "nothing that was confirmed is lost to a broker that is frozen for long"
	caseChurn = "members that join and leave all the time lose nothing"
)

// The breaches of what must hold in a broken world.
var worldBreaches = []breach{
	{"confirms what it forgets while it is dead", rich, caseTwice, func(e *env) func(*wrapped) {
		var once sync.Once
		forgot := make(chan struct{})
		restart := e.h.Restart
		e.h.Restart = func() error { // once something was published in vain
			select {
			case <-forgot:
			case <-e.over:
			}
			return restart()
		}
		return onPublish(func(ctx context.Context, msgs []brokers.Message, next publishFunc) error {
			if next(ctx, msgs) != nil {
				once.Do(func() { close(forgot) })
			}
			return nil
		})(e)
	}},
	{"delivers everything again after its death", rich, caseTwice, func(e *env) func(*wrapped) {
		var dead atomic.Bool
		kill := e.h.Kill
		e.h.Kill = func() error { dead.Store(true); return kill() }
		return onDelivery(func(batch []brokers.Delivery) []brokers.Delivery {
			if !dead.Load() {
				return batch
			}
			again := slices.Clone(batch)
			for i := range again {
				again[i].Settler = nil
			}
			return append(batch, again...)
		})(e)
	}},
	{"gives messages a new id after its death", rich, caseTwice, func(e *env) func(*wrapped) {
		var dead atomic.Bool
		kill := e.h.Kill
		e.h.Kill = func() error { dead.Store(true); return kill() }
		return onMessage(func(m *brokers.Message) {
			if dead.Load() {
				m.ID = "new-" + m.ID
			}
		})(e)
	}},
	{"mixes up the order of keys when it is killed", rich, caseTwice, func(e *env) func(*wrapped) {
		return onDelivery(func(batch []brokers.Delivery) []brokers.Delivery {
			slices.Reverse(batch)
			return batch
		})(e)
	}},
	{"confirms what it forgets while it is frozen for long", rich, caseLong, whileFrozen(takesAll)},
	{"stops after a hundred foreign entries", rich,
		"a thousand foreign entries among the good ones keep none of those back", func(*env) func(*wrapped) {
			var foreign atomic.Int64
			return onDelivery(func(batch []brokers.Delivery) []brokers.Delivery {
				return slices.DeleteFunc(batch, func(d brokers.Delivery) bool {
					return d.Body[0] != '{' && foreign.Add(1) > 50
				})
			})(nil)
		}},
	{"goes on without its queue", rich, "what is deleted under a running consumer heals, or the subscription fails loudly",
		func(e *env) func(*wrapped) {
			var gone atomic.Bool
			e.h.Delete["queue"] = func(string, string) error { gone.Store(true); return nil }
			return onDelivery(func(batch []brokers.Delivery) []brokers.Delivery {
				if gone.Load() {
					ackAll(batch...)
					return nil
				}
				return batch
			})(e)
		}},
	{"holds everything up while one event fails", rich, "one event that always fails does not slow the others",
		func(e *env) func(*wrapped) {
			var failed atomic.Bool
			return func(w *wrapped) {
				w.settle = func(list []brokers.Settlement) []brokers.Settlement {
					for _, s := range list {
						failed.Store(failed.Load() || s.Verdict == brokers.Redeliver)
					}
					return list
				}
				w.deliver = func(batch []brokers.Delivery, next deliverFunc) {
					if failed.Load() {
						e.stuck()
					}
					next(batch)
				}
			}
		}},
	{"delivers again what is handled for longer than its lease", rich, "a handler that takes many leases runs once",
		func(e *env) func(*wrapped) {
			return func(w *wrapped) {
				w.subscribe = func(ctx context.Context, s brokers.Subscription, sink brokers.Sink, next subscribeFunc) error {
					return next(ctx, s, &tap{Sink: sink, deliver: func(batch []brokers.Delivery, deliver deliverFunc) {
						deliver(batch)
						again := slices.Clone(batch)
						for i := range again {
							again[i].Settler = nil
						}
						deliver(again)
					}})
				}
			}
		}},
	{"loses what a killed consumer had", rich,
		"what a consumer had that was killed is delivered again within its lease, and nothing is lost",
		func(e *env) func(*wrapped) {
			breaker := func(w *wrapped) {
				w.deliver = func(batch []brokers.Delivery, next deliverFunc) {
					ackAll(batch...)
					next(batch)
				}
			}
			e.h.Consume = consumeHere(func(ctx context.Context) (brokers.Conn, error) { return e.h.Open(ctx) })
			return breaker
		}},
	{"loses what comes while members come and go", rich, caseChurn, everyHundredth(func(d brokers.Delivery) []brokers.Delivery {
		ackAll(d)
		return nil
	})},
	{"delivers too much twice while members come and go", rich, caseChurn,
		everyHundredth(func(d brokers.Delivery) []brokers.Delivery {
			again := d
			again.Settler = nil
			return []brokers.Delivery{d, again}
		})},
	{"takes messages on what is no channel", rich,
		"a name that is no channel is rejected before the broker sees it, and its neighbours are not",
		onPublish(func(ctx context.Context, msgs []brokers.Message, next publishFunc) error {
			return next(ctx, slices.DeleteFunc(slices.Clone(msgs), func(m brokers.Message) bool {
				return brokers.CheckChannel(m.Channel) != nil
			}))
		})},
	{"hangs in Close when it is dead", rich, "Close returns by its deadline although the broker is gone",
		func(e *env) func(*wrapped) {
			var dead atomic.Bool
			kill, restart := e.h.Kill, e.h.Restart
			e.h.Kill = func() error { dead.Store(true); return kill() }
			e.h.Restart = func() error { dead.Store(false); return restart() }
			return func(w *wrapped) {
				w.close = func(ctx context.Context, next closeFunc) error {
					if dead.Load() {
						e.stuck()
					}
					return next(ctx)
				}
			}
		}},
}
