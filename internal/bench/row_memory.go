package main

import (
	"context"
	"sync/atomic"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/gochannel"

	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/schema"
)

const (
	memoryMaxNs     = 1000.0
	memoryMaxAllocs = 6.0
)

// window is how many events may be on their way at once where they go through a broker to a handler: enough to keep
// everybody busy, and 3.3 MB, where Redis disconnects a subscriber at 32 MB.
const window = 8192

// memoryRows compare the way of an event inside the process: Emit, the memory broker and the handler's chain against
// Watermill's gochannel. Both are given bytes that were encoded before: ours the payload, in an event made by its
// constructor, gochannel the whole envelope. Ours also makes an id, checks, routes, encodes and decodes the envelope,
// and keeps the order; gochannel starts two goroutines for each message.
func memoryRows(ctx context.Context, l *lab) ([]row, error) {
	bodies, err := bodies()
	if err != nil {
		return nil, err
	}
	runs, err := l.inTurns(ctx,
		side{"memory://, Emit to handler", l.memoryOurs},
		side{"Watermill gochannel", l.memoryWatermill(bodies)},
	)
	if err != nil {
		return nil, err
	}
	got, r := medians(runs[0]), compare(runs[0], runs[1], rateOf)
	l.figures[keyMemory], l.figures[keyMemoryAllocs], l.figures[keyMemoryBase] = got.mean, got.allocs, r.mid
	return []row{
		row{what: "memory broker, Emit to handler, data as bytes", got: got, ratios: r, base: "gochannel"}.need(
			"1 µs, 6 allocs, 5 × gochannel", got.mean <= memoryMaxNs, got.allocs <= memoryMaxAllocs, r.mid >= 5),
		baseRow("  gochannel: Watermill's, publish to ack", runs[1]),
	}, nil
}

// memoryOurs emits events whose payload is encoded already, as fast as one caller can.
func (l *lab) memoryOurs(ctx context.Context) (sample, error) {
	b, err := bus.OpenConfig(ctx, blocking("memory://", toOne))
	if err != nil {
		return sample{}, err
	}
	var handled atomic.Int64
	stop, err := subscribe(ctx, b, bus.Subscription{
		Name: "bench", Channels: []string{oneChannel},
		Handler: func(_ context.Context, e schema.Event) error {
			if len(e.Data) == 0 {
				return errNoData
			}
			handled.Add(1)
			return nil
		},
	})
	if err != nil {
		return sample{}, err
	}
	events := make([]schema.Event, users)
	for i := range events {
		events[i] = newEvent(i)
	}
	s, err := l.throughput(ctx, &handled, func(i int) error { return b.Emit(ctx, events[i%users]) })
	if err != nil {
		return s, err
	}
	return s, stop()
}

// memoryWatermill publishes the bytes of an envelope through gochannel and acks. With a buffer of the window's size it
// is some 10 % quicker than with gochannel's default of none.
func (l *lab) memoryWatermill(bodies [][]byte) func(context.Context) (sample, error) {
	return func(ctx context.Context) (sample, error) {
		pubsub := gochannel.NewGoChannel(gochannel.Config{OutputChannelBuffer: window}, watermill.NopLogger{})
		messages, err := pubsub.Subscribe(ctx, oneChannel)
		if err != nil {
			return sample{}, err
		}
		var handled atomic.Int64
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for msg := range messages {
				msg.Ack()
				handled.Add(1)
			}
		}()
		s, err := l.throughput(ctx, &handled, func(i int) error {
			return pubsub.Publish(oneChannel, message.NewMessage(watermill.NewUUID(), bodies[i%len(bodies)]))
		})
		if err != nil {
			return s, err
		}
		err = pubsub.Close()
		<-ended
		return s, err
	}
}

// throughput publishes as fast as the window allows, and measures from the first event to the handling of the last.
func (l *lab) throughput(ctx context.Context, handled *atomic.Int64, publish func(i int) error) (sample, error) {
	before := mallocs()
	sent := 0
	n, start, err := sustain(l.run, func() (int, error) {
		if int64(sent)-handled.Load() > window-stride {
			yield()
			return 0, nil
		}
		for range stride {
			if err := publish(sent); err != nil {
				return 0, err
			}
			sent++
		}
		return stride, nil
	})
	if err == nil {
		err = await(ctx, handled, int64(n))
	}
	return costOf(n, since(start), before), err
}
