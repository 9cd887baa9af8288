package main

import (
	"context"
	"errors"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	wmiddleware "github.com/ThreeDotsLabs/watermill/message/router/middleware"
	"github.com/ThreeDotsLabs/watermill/pubsub/gochannel"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/schema"
	"github.com/eventbus-go/eventbus/store/dedup"
)

const (
	handlingMaxNs     = 800.0
	handlingMaxAllocs = 4.0
	// remembered is how many handled events deduplication knows; four times as many take turns, so that next to none is known.
	remembered = 1 << 12
)

// handlingRows measure what a handler is wrapped in, for an event that succeeds: metrics, dead letters, deduplication in memory,
// retry, timeout and recover, with the hand-off to a worker. The broker is a loop that delivers the same messages again and again, and
// takes every settlement. What it costs to receive an event that is not handled, the decoding of its envelope most of all, is measured
// in turns with that, by a subscription that wants other types, and taken off. The base is Watermill's Router with its own middleware
// for the same, without metrics, on a loop that waits for no ack and decodes nothing.
//
// Each has one processor: what is done beside the handler is work too, and costs are taken off each other.
func handlingRows(ctx context.Context, l *lab) ([]row, error) {
	if !l.more {
		return nil, nil
	}
	deliveries := make([]brokers.Delivery, 4*remembered)
	for i := range deliveries {
		e := newEvent(i % users)
		e.ID, e.Time = schema.NewID(), time.Now()
		body, err := schema.Encode(e)
		if err != nil {
			return nil, err
		}
		deliveries[i] = brokers.Delivery{Message: brokers.Message{Channel: oneChannel, Key: keyOf(i % users), Body: body}, Attempt: 1}
	}
	runs, err := l.inTurns(ctx,
		side{"received, and handled by all of the chain", onOne(l.handlingOurs(deliveries, eventType))},
		side{"received, and filtered", onOne(l.handlingOurs(deliveries, "nobody.wants.this"))},
		side{"Watermill Router, five of its middleware", onOne(l.handlingWatermill(deliveries))},
	)
	if err != nil {
		return nil, err
	}
	chain := less(runs[0], runs[1])
	got := medians(chain)
	return []row{
		row{what: "handling: metrics, dead letters, dedup, retry, timeout, recover", got: got,
			ratios: compare(chain, runs[2], rateOf), base: "watermill"}.
			need("0.8 µs, 4 allocs", got.mean <= handlingMaxNs, got.allocs <= handlingMaxAllocs),
		baseRow("  with what comes before it: received, decoded, queued", runs[0]),
		baseRow("  watermill: Router, poison queue, dedup, retry, timeout, recover", runs[2]),
	}, nil
}

// onOne runs a side on one processor.
func onOne(run func(context.Context) (sample, error)) func(context.Context) (sample, error) {
	return func(ctx context.Context) (sample, error) {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
		return run(ctx)
	}
}

// less is what an event costs more on one side than on another, run by run.
func less(whole, part []sample) []sample {
	out := make([]sample, len(whole))
	for i := range out {
		out[i] = newSample()
		out[i].mean, out[i].allocs = whole[i].mean-part[i].mean, whole[i].allocs-part[i].allocs
		out[i].rate = float64(time.Second) / out[i].mean
	}
	return out
}

// A loop is a broker that delivers the same messages again and again, for a time.
type loop struct {
	deliveries []brokers.Delivery
	run        time.Duration
	delivered  int
	took       time.Duration
	settled    atomic.Int64
	done       chan error
}

func (l *loop) Capabilities() brokers.Capabilities {
	return brokers.Capabilities{Groups: true, Durable: true}
}
func (l *loop) Publish(context.Context, []brokers.Message) error { return nil }
func (l *loop) Retryable(error) bool                             { return false }
func (l *loop) Close(context.Context) error                      { return nil }

func (l *loop) Settle(_ context.Context, s []brokers.Settlement) error {
	l.settled.Add(int64(len(s)))
	return nil
}

func (l *loop) next() []brokers.Delivery {
	from := l.delivered % len(l.deliveries)
	l.delivered += stride
	return l.deliveries[from : from+stride]
}

// Subscribe delivers until the time is over and all is settled.
func (l *loop) Subscribe(ctx context.Context, _ brokers.Subscription, sink brokers.Sink) error {
	sink.Ready()
	batch := make([]brokers.Delivery, stride)
	_, start, err := sustain(l.run, func() (int, error) {
		copy(batch, l.next())
		for i := range batch {
			batch[i].Settler = l
		}
		sink.Deliver(batch)
		return stride, nil
	})
	err = errors.Join(err, await(ctx, &l.settled, int64(l.delivered)))
	l.took = since(start)
	l.done <- err
	<-ctx.Done()
	return nil
}

// handlingOurs delivers the events to a subscription that wants those of one type.
func (l *lab) handlingOurs(deliveries []brokers.Delivery, wanted string) func(context.Context) (sample, error) {
	return func(ctx context.Context) (sample, error) {
		source := &loop{deliveries: deliveries, run: l.run, done: make(chan error, 1)}
		b, err := bus.New(ctx, source, bus.Config{Config: toOne, DeadLetters: "memory://"})
		if err != nil {
			return sample{}, err
		}
		b.Measure()
		before := mallocs()
		stop, err := subscribe(ctx, b, bus.Subscription{
			Name: "bench", Group: "bench", Channels: []string{oneChannel}, Events: []string{wanted},
			Dedup:   bus.DedupPolicy{Store: dedup.NewMemory(remembered)},
			Handler: func(context.Context, schema.Event) error { return nil },
		})
		if err != nil {
			return sample{}, err
		}
		err = <-source.done
		return costOf(source.delivered, source.took, before), errors.Join(err, stop())
	}
}

// A loopSubscriber is the same loop for Watermill: at most a window of messages is on its way.
type loopSubscriber struct {
	messages chan *message.Message
}

// Subscribe implements message.Subscriber.
func (s *loopSubscriber) Subscribe(context.Context, string) (<-chan *message.Message, error) {
	return s.messages, nil
}

// Close implements message.Subscriber.
func (s *loopSubscriber) Close() error { return nil }

func (l *lab) handlingWatermill(deliveries []brokers.Delivery) func(context.Context) (sample, error) {
	return func(ctx context.Context) (sample, error) {
		var handled atomic.Int64
		mw, err := watermillChain()
		if err != nil {
			return sample{}, err
		}
		sub := &loopSubscriber{messages: make(chan *message.Message)}
		before := mallocs()
		stop, err := watermillRouter(ctx, oneChannel, sub, func([]byte) error { handled.Add(1); return nil }, mw...)
		if err != nil {
			return sample{}, err
		}
		sent := 0
		_, start, err := sustain(l.run, func() (int, error) {
			if int64(sent)-handled.Load() > window-stride {
				yield()
				return 0, nil
			}
			for range stride {
				msg := message.NewMessage(watermill.NewUUID(), deliveries[sent%len(deliveries)].Body)
				msg.SetContext(ctx)
				sub.messages <- msg
				sent++
			}
			return stride, nil
		})
		err = errors.Join(err, await(ctx, &handled, int64(sent)))
		took := since(start)
		close(sub.messages)
		return costOf(sent, took, before), errors.Join(err, stop())
	}
}

// watermillChain is Watermill's own middleware for what ours does.
func watermillChain() ([]message.HandlerMiddleware, error) {
	poison, err := wmiddleware.PoisonQueue(gochannel.NewGoChannel(gochannel.Config{}, watermill.NopLogger{}), "poison")
	if err != nil {
		return nil, err
	}
	known, err := wmiddleware.NewMapExpiringKeyRepository(time.Second)
	if err != nil {
		return nil, err
	}
	dedup := wmiddleware.Deduplicator{
		KeyFactory: func(m *message.Message) (string, error) { return m.UUID, nil }, Repository: known, Timeout: time.Minute,
	}
	retry := wmiddleware.Retry{MaxRetries: 2, InitialInterval: time.Millisecond}
	return []message.HandlerMiddleware{
		poison, dedup.Middleware, retry.Middleware, wmiddleware.Timeout(time.Minute), wmiddleware.Recoverer,
	}, nil
}
