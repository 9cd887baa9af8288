package main

import (
	"context"
	"encoding/json"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	goredis "github.com/redis/go-redis/v9"

	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/schema"
	"github.com/eventbus-go/eventbus/schema/userservice"
)

var errNoData = errors.New("the event has no data")

// subscribeRows measure the way from Redis to a handler. A raw connection publishes the same bytes to both sides, and
// only as many ahead of the handler as the window allows, so that Redis never disconnects anybody.
//
// The base is what one builds today: go-redis's Channel() behind a Watermill Subscriber, its Router without any
// middleware, and encoding/json in the handler. It does less than ours, which also checks the envelope, keeps the order
// of keys, retries, limits the time and recovers from panics.
func subscribeRows(ctx context.Context, l *lab) ([]row, error) {
	bodies, err := bodies()
	if err != nil {
		return nil, err
	}
	fr := frames(bodies, oneChannel)
	sides := []side{
		{"subscription, data as bytes", l.receive(fr, l.oursBytes)},
		{"go-redis + Watermill + json, data as bytes", l.receive(fr, l.watermill(decodeBytes))},
		{"subscription, payload decoded", l.receive(fr, l.oursTyped)},
		{"go-redis + Watermill + json, payload decoded", l.receive(fr, l.watermill(decodeTyped))},
	}
	if !l.more {
		sides = sides[:2]
	}
	runs, err := l.inTurns(ctx, sides...)
	if err != nil {
		return nil, err
	}
	r := compare(runs[0], runs[1], rateOf)
	l.figures[keySub] = r.mid
	rows := []row{
		row{what: "Redis Pub/Sub to handler, data as bytes", got: medians(runs[0]), ratios: r, base: "watermill"}.
			need("4 × watermill", r.mid >= 4),
		baseRow("  watermill: go-redis Channel(), Router, encoding/json", runs[1]),
	}
	if l.more {
		r := compare(runs[2], runs[3], rateOf)
		rows = append(rows,
			row{what: "Redis Pub/Sub to handler, payload decoded", got: medians(runs[2]), ratios: r, base: "watermill"}.
				need("3 × watermill", r.mid >= 3),
			baseRow("  watermill: go-redis Channel(), Router, encoding/json", runs[3]))
	}
	return rows, nil
}

// A consume subscribes to oneChannel and counts into handled.
type consume func(ctx context.Context, handled *atomic.Int64) (stop func() error, err error)

// receive feeds a subscriber from a raw connection and measures until the last event is handled.
func (l *lab) receive(frames [][]byte, start consume) func(context.Context) (sample, error) {
	return func(ctx context.Context) (sample, error) {
		var handled atomic.Int64
		stop, err := start(ctx, &handled)
		if err != nil {
			return sample{}, err
		}
		c, err := dialRaw(l.redis.Addr())
		if err != nil {
			return sample{}, err
		}
		s, err := l.feed(ctx, c, frames, &handled)
		return s, errors.Join(err, stop())
	}
}

func (l *lab) feed(ctx context.Context, c *rawConn, frames [][]byte, handled *atomic.Int64) (sample, error) {
	before := mallocs()
	sent, pause := 0, newRest()
	n, start, err := sustain(l.run, func() (int, error) {
		if int64(sent)-handled.Load() > window-stride {
			return 0, pause.take(ctx, aMoment)
		}
		for range stride {
			if _, err := c.out.Write(frames[sent%len(frames)]); err != nil {
				return 0, err
			}
			sent++
		}
		return stride, c.out.Flush()
	})
	if err == nil {
		err = await(ctx, handled, int64(n))
	}
	s := rateSample(n, since(start))
	s.allocs = float64(mallocs()-before) / float64(n)
	return s, errors.Join(err, c.finish(n))
}

// oursBytes is a subscription with an untyped handler and the default chain: retry, timeout, recover.
func (l *lab) oursBytes(ctx context.Context, handled *atomic.Int64) (func() error, error) {
	return l.ours(ctx, bus.Subscription{
		Handler: func(_ context.Context, e schema.Event) error {
			if len(e.Data) == 0 {
				return errNoData
			}
			handled.Add(1)
			return nil
		},
	})
}

// oursTyped is one with a typed handler.
func (l *lab) oursTyped(ctx context.Context, handled *atomic.Int64) (func() error, error) {
	return l.ours(ctx, bus.Subscription{
		Handlers: []bus.TypedHandler{bus.On(userservice.RoleAssigned,
			func(_ context.Context, _ schema.Event, p userservice.RoleAssignedPayload) error {
				if len(p.CurrentRoles) != len(roles) {
					return errNoData
				}
				handled.Add(1)
				return nil
			})},
	})
}

func (l *lab) ours(ctx context.Context, s bus.Subscription) (func() error, error) {
	b, err := bus.OpenConfig(ctx, bus.Config{URL: l.url()})
	if err != nil {
		return nil, err
	}
	s.Name, s.Channels = "bench", []string{oneChannel}
	return subscribe(ctx, b, s)
}

// decodeBytes and decodeTyped are the base's handlers.
func decodeBytes(body []byte) error {
	var e envelope
	if err := json.Unmarshal(body, &e); err != nil {
		return err
	}
	if len(e.Data) == 0 {
		return errNoData
	}
	return nil
}

func decodeTyped(body []byte) error {
	var e roleAssigned
	if err := json.Unmarshal(body, &e); err != nil {
		return err
	}
	if len(e.Data.CurrentRoles) != len(roles) {
		return errNoData
	}
	return nil
}

// watermill is the base: a Router with one handler.
func (l *lab) watermill(decode func([]byte) error) consume {
	return func(ctx context.Context, handled *atomic.Int64) (func() error, error) {
		sub := &redisSubscriber{client: l.client()}
		stop, err := watermillRouter(ctx, oneChannel, sub, func(body []byte) error {
			err := decode(body)
			if err == nil {
				handled.Add(1)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
		return func() error { return errors.Join(stop(), sub.Close()) }, nil
	}
}

// A redisSubscriber is a Watermill Subscriber on go-redis's Channel(), as one writes it for Pub/Sub: what comes is
// handed to the Router at once. Nothing waits for an ack, since Redis wants none; that is the quickest way to do it.
type redisSubscriber struct {
	client *goredis.Client
	once   sync.Once
}

// channelSize is the buffer of Channel(): with its default of 100 it is slower.
const channelSize = 1000

// Subscribe implements message.Subscriber.
func (s *redisSubscriber) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	pubsub := s.client.Subscribe(ctx, topic)
	if _, err := pubsub.Receive(ctx); err != nil { // the confirmation
		return nil, err
	}
	in, out := pubsub.Channel(goredis.WithChannelSize(channelSize)), make(chan *message.Message)
	go func() {
		defer close(out)
		defer pubsub.Close()
		for {
			select {
			case <-ctx.Done():
				return
			case m, ok := <-in:
				if !ok {
					return
				}
				msg := message.NewMessage(watermill.NewUUID(), message.Payload(m.Payload))
				msg.SetContext(ctx)
				select {
				case out <- msg:
				case <-ctx.Done():
					return
				}
			}
		}
	}()
	return out, nil
}

// Close implements message.Subscriber.
func (s *redisSubscriber) Close() (err error) {
	s.once.Do(func() { err = s.client.Close() })
	return err
}

// yield lets others run for a moment.
func yield() { runtime.Gosched() }
