package brokertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/eventbus-go/eventbus/brokers"
)

// onDelivery changes each batch on its way.
func onDelivery(change func(batch []brokers.Delivery) []brokers.Delivery) breaker {
	return each(func(w *wrapped) {
		w.deliver = func(batch []brokers.Delivery, next deliverFunc) {
			if batch = change(slices.Clone(batch)); len(batch) > 0 {
				next(batch)
			}
		}
	})
}

// onMessage changes each message on its way.
func onMessage(change func(m *brokers.Message)) breaker {
	return onDelivery(func(batch []brokers.Delivery) []brokers.Delivery {
		for i := range batch {
			change(&batch[i].Message)
		}
		return batch
	})
}

// onPublish puts f in Publish's place.
func onPublish(f func(ctx context.Context, msgs []brokers.Message, next publishFunc) error) breaker {
	return each(func(w *wrapped) { w.publish = f })
}

// everyHundredth calls f for each hundredth delivery, and returns the batch with what f puts in its place.
func everyHundredth(f func(d brokers.Delivery) []brokers.Delivery) breaker {
	return func(*env) func(*wrapped) {
		var n atomic.Int64
		return onDelivery(func(batch []brokers.Delivery) (out []brokers.Delivery) {
			for _, d := range batch {
				if n.Add(1)%100 == 0 {
					out = append(out, f(d)...)
					continue
				}
				out = append(out, d)
			}
			return out
		})(nil)
	}
}

// overtaken holds the first delivery of a subscription back until one comes that overtakes it. Whoever reversed batches
// would change nothing on a machine where each batch is one message.
func overtaken(overtakes func(first, next brokers.Message) bool) breaker {
	return onSubscribe(func(ctx context.Context, s brokers.Subscription, sink brokers.Sink, next subscribeFunc) error {
		var first *brokers.Delivery
		passed := false
		return next(ctx, s, &tap{Sink: sink, deliver: func(batch []brokers.Delivery, deliver deliverFunc) {
			var out []brokers.Delivery
			for _, d := range batch {
				switch {
				case first == nil:
					first = &d
				case !passed && overtakes(first.Message, d.Message):
					passed = true
					out = append(out, d, *first)
				default:
					out = append(out, d)
				}
			}
			if len(out) > 0 {
				deliver(out)
			}
		}})
	})
}

func ofOneKey(first, next brokers.Message) bool {
	return first.Channel == next.Channel && first.Key == next.Key
}
func ofOtherKey(first, next brokers.Message) bool {
	return first.Channel == next.Channel && first.Key != next.Key
}

const (
	caseBodies    = "a body arrives byte for byte"
	caseFields    = "each field arrives as it was published, or not at all"
	caseReadings  = "a reading comes with the body that it was published with, or not at all"
	caseThousands = "thousands of messages arrive once each"
	caseEnded     = "Publish with an ended context returns at once and marks every message"
	caseOutcomes  = "a message that is marked NotSent never arrives, and one that is not marked does"
	caseKeyOrder  = "messages of one key arrive in the order in which they were published, across batches"
)

var publishBreaches = []breach{
	{"loses every hundredth message", plain, caseThousands, everyHundredth(func(d brokers.Delivery) []brokers.Delivery {
		ackAll(d)
		return nil
	})},
	{"delivers every hundredth message twice", plain,
		caseThousands, everyHundredth(func(d brokers.Delivery) []brokers.Delivery {
			again := d
			again.Settler = nil
			return []brokers.Delivery{d, again}
		})},
	{"swaps two messages of a key", plain, caseKeyOrder, overtaken(ofOneKey)},
	{"promises order per channel and keeps it per key", plain,
		"messages of one channel arrive in the order in which they were published",
		func(e *env) func(*wrapped) {
			mixes := overtaken(ofOtherKey)(e)
			promises := promising(func(c *brokers.Capabilities) { c.Order = brokers.OrderChannel })(e)
			return func(w *wrapped) {
				mixes(w)
				promises(w)
			}
		}},
	{"trims bodies", plain, caseBodies, onMessage(func(m *brokers.Message) { m.Body = bytes.TrimSpace(m.Body) })},
	{"replaces what is not UTF-8", plain, caseBodies, onMessage(func(m *brokers.Message) {
		m.Body = bytes.ToValidUTF8(m.Body, []byte("\uFFFD"))
	})},
	{"cuts large bodies", plain,
		caseBodies, onMessage(func(m *brokers.Message) { m.Body = m.Body[:min(len(m.Body), 512<<10)] })},
	{"calls good bodies malformed", plain, caseBodies, onDelivery(func(batch []brokers.Delivery) []brokers.Delivery {
		batch[0].Malformed = brokers.ReasonForeign
		return batch
	})},
	{"loses headers", plain, caseFields, onMessage(func(m *brokers.Message) { m.Headers = nil })},
	{"loses the second value of a header", plain, caseFields, onMessage(func(m *brokers.Message) {
		m.Headers = slices.CompactFunc(slices.Clone(m.Headers), func(a, b brokers.Header) bool { return a.Key == b.Key })
	})},
	{"loses the key", plain, caseFields, onMessage(func(m *brokers.Message) { m.Key = "" })},
	{"invents a type that it does not carry", plain, caseFields, func(e *env) func(*wrapped) {
		e.h.Carries = Fields{}
		return onMessage(func(m *brokers.Message) { m.Type = "unknown" })(e)
	}},
	{"delivers readings through a wrapper", plain, caseReadings, each(func(w *wrapped) { w.readings = true })},
	{"mixes up the readings of a batch", plain, caseReadings, each(func(w *wrapped) {
		w.readings, w.local = true, true
		w.publish = func(ctx context.Context, msgs []brokers.Message, next publishFunc) error {
			mixed := slices.Clone(msgs)
			for i := range mixed {
				mixed[i].Reading = msgs[len(msgs)-1-i].Reading
			}
			return next(ctx, mixed)
		}
	})},
	{"keeps the reading of what was in its place before", plain, caseReadings, func(*env) func(*wrapped) {
		var last atomic.Value
		return each(func(w *wrapped) {
			w.readings, w.local = true, true
			w.deliver = func(batch []brokers.Delivery, next deliverFunc) {
				batch = slices.Clone(batch)
				for i := range batch {
					if r := batch[i].Reading; r != nil {
						last.Store(r)
						continue
					}
					batch[i].Reading = last.Load()
				}
				next(batch)
			}
		})(nil)
	}},
	{"publishes a batch on its first message's channel", plain, "one batch reaches several channels",
		onPublish(func(ctx context.Context, msgs []brokers.Message, next publishFunc) error {
			msgs = slices.Clone(msgs)
			for i := range msgs {
				msgs[i].Channel = msgs[0].Channel
			}
			return next(ctx, msgs)
		})},
	{"drops an event's second channel as a repetition", plain, "one event on three channels is three messages",
		onPublish(func(ctx context.Context, msgs []brokers.Message, next publishFunc) error {
			return next(ctx, slices.CompactFunc(slices.Clone(msgs), func(a, b brokers.Message) bool { return a.ID == b.ID }))
		})},
	{"refuses an empty batch", plain, "an empty batch is no error",
		onPublish(func(ctx context.Context, msgs []brokers.Message, next publishFunc) error {
			if len(msgs) == 0 {
				return errors.New("nothing to publish")
			}
			return next(ctx, msgs)
		})},
	{"keeps references to the caller's bodies", plain,
		"the memory of a batch is the caller's again after Publish returned nil",
		keepsReferences(func(m brokers.Message) brokers.Message { return m })},
	{"keeps references to the caller's headers", plain,
		"the memory of a batch is the caller's again after Publish returned nil",
		keepsReferences(func(m brokers.Message) brokers.Message {
			m.Body = bytes.Clone(m.Body)
			return m
		})},
	{"loses a batch that is published while another one is", plain, "many goroutines publish at once",
		func(*env) func(*wrapped) {
			var busy atomic.Int64
			var once sync.Once
			second := make(chan struct{})
			return func(w *wrapped) {
				w.publish = func(ctx context.Context, msgs []brokers.Message, next publishFunc) error {
					defer busy.Add(-1)
					if busy.Add(1) > 1 {
						once.Do(func() { close(second) })
						return nil
					}
					select {
					case <-second:
					case <-ctx.Done():
					}
					return next(ctx, msgs)
				}
			}
		}},
	{"ignores its context in Publish", plain, caseEnded, func(e *env) func(*wrapped) {
		return onPublish(func(ctx context.Context, msgs []brokers.Message, next publishFunc) error {
			if ctx.Err() != nil {
				e.stuck()
			}
			return next(ctx, msgs)
		})(e)
	}},
	{"sends although the context has ended", plain, caseEnded,
		onPublish(func(ctx context.Context, msgs []brokers.Message, next publishFunc) error {
			return next(context.WithoutCancel(ctx), msgs)
		})},
	{"marks only the first message of a batch whose context has ended", plain, caseEnded,
		onPublish(func(ctx context.Context, msgs []brokers.Message, next publishFunc) error {
			if ctx.Err() != nil {
				return brokers.FailAll(1, brokers.NotSent, ctx.Err())
			}
			return next(ctx, msgs)
		})},
	{"returns an error that marks nothing", plain, caseEnded,
		onPublish(func(ctx context.Context, msgs []brokers.Message, next publishFunc) error {
			if ctx.Err() != nil {
				return fmt.Errorf("gave up: %w", ctx.Err())
			}
			return next(ctx, msgs)
		})},
	{"marks in descending order", plain, caseEnded,
		onPublish(func(ctx context.Context, msgs []brokers.Message, next publishFunc) error {
			err := next(ctx, msgs)
			var be *brokers.BatchError
			if errors.As(err, &be) {
				slices.Reverse(be.Failed)
			}
			return err
		})},
	{"marks messages that it took as not sent", plain, caseOutcomes,
		onPublish(func(ctx context.Context, msgs []brokers.Message, next publishFunc) error {
			if err := next(context.WithoutCancel(ctx), msgs); err != nil || len(msgs) < 20 {
				return err
			}
			return brokers.FailAll(len(msgs), brokers.NotSent, context.DeadlineExceeded)
		})},
	{"does not mark messages that it did not take", plain, caseOutcomes,
		onPublish(func(ctx context.Context, msgs []brokers.Message, next publishFunc) error {
			return next(context.WithoutCancel(ctx), msgs[:(len(msgs)+1)/2])
		})},
}

// keepsReferences publishes what is left in the caller's memory when the caller has gone on.
func keepsReferences(keep func(brokers.Message) brokers.Message) breaker {
	return func(e *env) func(*wrapped) {
		var later func()
		e.betweenSteps = func() {
			if f := later; f != nil {
				later = nil
				f()
			}
		}
		return func(w *wrapped) {
			w.publish = func(ctx context.Context, msgs []brokers.Message, next publishFunc) error {
				kept := make([]brokers.Message, len(msgs))
				for i, m := range msgs {
					kept[i] = keep(m)
				}
				later = func() { _ = next(ctx, kept) }
				return nil
			}
		}
	}
}
