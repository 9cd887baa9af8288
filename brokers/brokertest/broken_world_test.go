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

	caseHeaders = "headers that not every broker can carry are rejected before the broker sees them, and their neighbours are not"
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
			for range 20 { // more than could be in flight if everything was
				batch = append(batch, again...)
			}
			return batch
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
	{"mixes up the order of keys when it is killed", rich, caseTwice, overtaken(ofOneKey)},
	{"confirms what it forgets while it is frozen for long", rich, caseLong, func(e *env) func(*wrapped) {
		var once sync.Once
		forgot := make(chan struct{})
		forgets := whileFrozen(func(context.Context, *env, []brokers.Message) error {
			once.Do(func() { close(forgot) })
			return nil
		})(e)
		thaw := e.h.Thaw
		e.h.Thaw = func() error { // once something was published in vain
			select {
			case <-forgot:
			case <-e.over:
			}
			return thaw()
		}
		return forgets
	}},
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
			return func(w *wrapped) {
				w.deliver = func(batch []brokers.Delivery, next deliverFunc) {
					isPoison := func(d brokers.Delivery) bool { return d.Key == "poison" }
					if i := slices.IndexFunc(batch, isPoison); i >= 0 {
						next(batch[:i+1])
						e.stuck()
						return
					}
					next(batch)
				}
			}
		}},
	{"delivers again what is handled for longer than its lease", rich, "a handler that takes many leases runs once",
		onDelivery(func(batch []brokers.Delivery) []brokers.Delivery {
			again := slices.Clone(batch)
			for i := range again {
				again[i].Settler = nil
			}
			return append(batch, again...)
		})},
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
	{"delivers everything twice while members come and go", rich, caseChurn,
		onDelivery(func(batch []brokers.Delivery) (out []brokers.Delivery) {
			for _, d := range batch {
				again := d
				again.Settler = nil
				out = append(out, d, again)
			}
			return out
		})},
	{"takes messages on what is no channel", rich,
		"a name that is no channel is rejected before the broker sees it, and its neighbours are not",
		onPublish(func(ctx context.Context, msgs []brokers.Message, next publishFunc) error {
			return next(ctx, slices.DeleteFunc(slices.Clone(msgs), func(m brokers.Message) bool {
				return brokers.CheckChannel(m.Channel) != nil
			}))
		})},
	{"drops the headers that it cannot carry", rich, caseHeaders,
		onPublish(func(ctx context.Context, msgs []brokers.Message, next publishFunc) error {
			msgs = slices.Clone(msgs)
			for i := range msgs {
				if brokers.CheckHeaders(msgs[i].Headers) != nil {
					msgs[i].Headers = nil
				}
			}
			return next(ctx, msgs)
		})},
	{"rejects the neighbours of headers that it cannot carry", rich, caseHeaders,
		onPublish(func(ctx context.Context, msgs []brokers.Message, next publishFunc) error {
			for i := range msgs {
				if err := brokers.CheckHeaders(msgs[i].Headers); err != nil {
					return brokers.FailAll(len(msgs), brokers.Rejected, err)
				}
			}
			return next(ctx, msgs)
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
