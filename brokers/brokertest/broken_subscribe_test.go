package brokertest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/eventbus-go/eventbus/brokers"
)

// onSubscribe puts f in Subscribe's place.
func onSubscribe(
	f func(ctx context.Context, s brokers.Subscription, sink brokers.Sink, next subscribeFunc) error,
) breaker {
	return each(func(w *wrapped) { w.subscribe = f })
}

// asking changes what Subscribe is asked for.
func asking(change func(s *brokers.Subscription)) breaker {
	return onSubscribe(func(ctx context.Context, s brokers.Subscription, sink brokers.Sink, next subscribeFunc) error {
		s.Channels = slices.Clone(s.Channels)
		change(&s)
		return next(ctx, s, sink)
	})
}

// promising changes what is promised.
func promising(change func(c *brokers.Capabilities)) breaker {
	return each(func(w *wrapped) {
		w.caps = func(c brokers.Capabilities) brokers.Capabilities {
			change(&c)
			return c
		}
	})
}

const (
	caseEnds     = "Subscribe returns nil after its context ended"
	caseTokens   = "a pattern matches whole tokens"
	caseTooLarge = "a body over the subscription's limit is cut and marked"
	caseForeign  = "a foreign entry is delivered, marked or as it came"
)

var subscribeBreaches = []breach{
	{"is ready too early", plain, "what is published once Ready was called arrives", readyTooEarly},
	{"is ready twice", plain, caseThousands,
		onSubscribe(func(ctx context.Context, s brokers.Subscription, sink brokers.Sink, next subscribeFunc) error {
			return next(ctx, s, &tap{Sink: sink, ready: func(ready func()) { ready(); ready() }})
		})},
	{"is never ready", plain, "what is published once Ready was called arrives",
		onSubscribe(func(ctx context.Context, s brokers.Subscription, sink brokers.Sink, next subscribeFunc) error {
			return next(ctx, s, &tap{Sink: sink, ready: func(func()) {}})
		})},
	{"calls the sink from two goroutines", plain, caseThousands, fromTwoGoroutines},
	{"delivers other channels", plain, "a subscription gets the messages of its channels and no others",
		asking(func(s *brokers.Subscription) { s.Channels = append(s.Channels, s.Channels[0]+".>") })},
	{"shares messages among subscriptions without a group", plain,
		"each subscription without a group gets every message",
		asking(func(s *brokers.Subscription) { s.Group = "everybody" })},
	{"lets one sink block all", plain,
		"a sink that blocks does not slow another subscription", func(*env) func(*wrapped) {
			var mu sync.Mutex
			return func(w *wrapped) {
				w.deliver = func(batch []brokers.Delivery, next deliverFunc) {
					mu.Lock()
					defer mu.Unlock()
					next(batch)
				}
			}
		}},
	{"reuses the memory of bodies", plain,
		"the sink's batch may be overwritten, its contents not", func(*env) func(*wrapped) {
			memory := make([]byte, 4096)
			return onMessage(func(m *brokers.Message) { m.Body = memory[:copy(memory, m.Body)] })(nil)
		}},
	{"returns its context's error from Subscribe", plain, caseEnds,
		onSubscribe(func(ctx context.Context, s brokers.Subscription, sink brokers.Sink, next subscribeFunc) error {
			return errors.Join(next(ctx, s, sink), ctx.Err())
		})},
	{"does not return from Subscribe", plain, caseEnds, func(e *env) func(*wrapped) {
		return onSubscribe(func(ctx context.Context, s brokers.Subscription, sink brokers.Sink, next subscribeFunc) error {
			defer e.stuck()
			return next(ctx, s, sink)
		})(e)
	}},
	{"does not wait for what is unsettled", plain, "Subscribe waits for the deliveries that are not settled",
		onSubscribe(func(ctx context.Context, s brokers.Subscription, sink brokers.Sink, next subscribeFunc) error {
			go func() { _ = next(ctx, s, sink) }()
			<-ctx.Done()
			return nil
		})},
	{"ignores Prefetch", plain, "no more than Prefetch deliveries are unsettled",
		asking(func(s *brokers.Subscription) { s.Prefetch = 0 })},
	{"accepts what is no pattern", plain, "a subscription without channels, or with one that is no pattern, is refused",
		onSubscribe(func(ctx context.Context, s brokers.Subscription, sink brokers.Sink, next subscribeFunc) error {
			if err := next(ctx, s, sink); err == nil {
				return nil
			}
			sink.Ready()
			<-ctx.Done()
			return nil
		})},
	{"takes a star for any number of tokens", plain, caseTokens,
		asking(func(s *brokers.Subscription) { s.Channels[0] = strings.ReplaceAll(s.Channels[0], ".*", ".>") })},
	{"takes a > for one token", plain, caseTokens,
		asking(func(s *brokers.Subscription) { s.Channels[0] = strings.ReplaceAll(s.Channels[0], ".>", ".*") })},
	{"delivers one copy for each pattern that matches", plain,
		"a message that several patterns of a subscription match arrives once",
		onSubscribe(copyPerPattern)},
	{"delivers foreign channels", plain,
		"channels that foreign clients name do not leak through a pattern", func(e *env) func(*wrapped) {
			inject := e.h.Inject
			e.h.Inject = func(channel string, body []byte) error {
				return inject(channel[:strings.Index(channel, ".")]+".c1.leak", body)
			}
			return asking(func(s *brokers.Subscription) {
				s.Channels = append(s.Channels, s.Channels[0][:strings.Index(s.Channels[0], ".")]+".c1.leak")
			})(e)
		}},
	{"does not look at MaxBytes", plain, caseTooLarge, asking(func(s *brokers.Subscription) { s.MaxBytes = 0 })},
	{"takes a body of exactly the limit for too large", plain,
		caseTooLarge, asking(func(s *brokers.Subscription) { s.MaxBytes-- })},
	{"does not say how large a body was", plain,
		caseTooLarge, onDelivery(func(batch []brokers.Delivery) []brokers.Delivery {
			for i := range batch {
				batch[i].Size = 0
			}
			return batch
		})},
	{"drops what is too large", plain, caseTooLarge, onDelivery(func(batch []brokers.Delivery) []brokers.Delivery {
		return slices.DeleteFunc(batch, func(d brokers.Delivery) bool { return d.Malformed != "" })
	})},
	{"takes what is over its own limit", rich, "a body over the broker's limit is rejected, and its neighbours are not",
		promising(func(c *brokers.Capabilities) { c.MaxBytes = 1 << 20 })},
	{"rejects the neighbours of a body that is too large", rich,
		"a body over the broker's limit is rejected, and its neighbours are not",
		onPublish(func(ctx context.Context, msgs []brokers.Message, next publishFunc) error {
			err := next(ctx, msgs)
			if errors.Is(err, errTooLarge) {
				return brokers.FailAll(len(msgs), brokers.Rejected, errTooLarge)
			}
			return err
		})},
	{"ends the subscription at a bad entry", plain, "no entry ends the subscription, whatever is in it",
		onSubscribe(func(ctx context.Context, s brokers.Subscription, sink brokers.Sink, next subscribeFunc) error {
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			return next(ctx, s, &tap{Sink: sink, deliver: func(batch []brokers.Delivery, deliver deliverFunc) {
				for i, d := range batch {
					if d.Body[0] != '{' {
						ackAll(batch[i:]...)
						cancel()
						return
					}
					deliver(batch[i : i+1])
				}
			}})
		})},
	{"drops foreign entries in silence", plain,
		caseForeign, onDelivery(func(batch []brokers.Delivery) []brokers.Delivery {
			return slices.DeleteFunc(batch, func(d brokers.Delivery) bool { return d.Body[0] != '{' })
		})},
	{"repairs foreign entries", plain, caseForeign, onMessage(func(m *brokers.Message) { m.Body = []byte("{}") })},
	{"changes its promises", plain, "the promises stay as they are", func(*env) func(*wrapped) {
		var calls atomic.Int64
		return promising(func(c *brokers.Capabilities) { c.Replay = calls.Add(1) > 2 })(nil)
	}},
	{"promises to replay and keeps nothing", plain,
		"a new group begins with the first retained message unless it asks to start now",
		promising(func(c *brokers.Capabilities) { c.Replay = true })},
	{"replays to those who start now", rich,
		"a new group begins with the first retained message unless it asks to start now",
		asking(func(s *brokers.Subscription) { s.Start = brokers.StartFirst })},
	{"promises to drop repetitions and does not", plain,
		"the second publish of one id on one channel is dropped, on another channel it is not",
		promising(func(c *brokers.Capabilities) { c.Dedup = true })},
	{"takes a group for none", modest, "a group is refused where groups are not promised",
		asking(func(s *brokers.Subscription) { s.Group = "" })},
	{"takes a wildcard for a name", modest, "a wildcard is refused where patterns are not promised",
		asking(func(s *brokers.Subscription) { s.Channels[0] = strings.ReplaceAll(s.Channels[0], ">", "x") })},
	{"refuses with an error of its own", modest, "a group is refused where groups are not promised",
		onSubscribe(func(ctx context.Context, s brokers.Subscription, sink brokers.Sink, next subscribeFunc) error {
			if s.Group != "" {
				return errors.New("no groups here")
			}
			return next(ctx, s, sink)
		})},
}

// readyTooEarly subscribes when something was published that it was ready for.
func readyTooEarly(*env) func(*wrapped) {
	published := make(chan struct{})
	var once sync.Once
	return func(w *wrapped) {
		w.publish = func(ctx context.Context, msgs []brokers.Message, next publishFunc) error {
			defer once.Do(func() { close(published) })
			return next(ctx, msgs)
		}
		w.subscribe = func(ctx context.Context, s brokers.Subscription, sink brokers.Sink, next subscribeFunc) error {
			sink.Ready()
			select {
			case <-published:
			case <-ctx.Done():
			}
			return next(ctx, s, &tap{Sink: sink, ready: func(func()) {}})
		}
	}
}

// fromTwoGoroutines gives each batch to the sink in a goroutine of its own, and holds what it settles, so that its calls
// are surely under way together.
func fromTwoGoroutines(e *env) func(*wrapped) {
	return func(w *wrapped) {
		w.settle = func(list []brokers.Settlement) []brokers.Settlement {
			e.stuck()
			return list
		}
		w.deliver = func(batch []brokers.Delivery, next deliverFunc) {
			batch = slices.Clone(batch)
			go next(batch)
		}
	}
}

// copyPerPattern delivers a copy for each pattern that matches, one after the other over one connection, as Redis does. In
// goroutines of their own the copies would come late at times: suppose the fence arrives by the first pattern while the
// second one's goroutine has not run yet; the case then ends before any copy is there to be counted.
func copyPerPattern(ctx context.Context, s brokers.Subscription, sink brokers.Sink, next subscribeFunc) error {
	var patterns []brokers.Pattern
	for _, ch := range s.Channels {
		p, err := brokers.ParsePattern(ch)
		if err != nil {
			return err
		}
		patterns = append(patterns, p)
	}
	return next(ctx, s, &tap{Sink: sink, deliver: func(batch []brokers.Delivery, deliver deliverFunc) {
		for _, d := range batch {
			for _, p := range patterns {
				if p.Match(d.Channel) {
					deliver([]brokers.Delivery{d})
					d.Settler = nil // there is one to settle
				}
			}
		}
	}})
}
