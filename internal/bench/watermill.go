package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
)

// watermillRouter is a Watermill Router with one handler, in the given middleware.
func watermillRouter(
	ctx context.Context, topic string, sub message.Subscriber, handle func(body []byte) error, mw ...message.HandlerMiddleware,
) (stop func() error, err error) {
	router, err := message.NewRouter(message.RouterConfig{}, watermill.NopLogger{})
	if err != nil {
		return nil, err
	}
	router.AddMiddleware(mw...)
	router.AddConsumerHandler("bench", topic, sub, func(msg *message.Message) error { return handle(msg.Payload) })
	ran := make(chan error, 1)
	go func() { ran <- router.Run(ctx) }()
	select {
	case <-router.Running():
	case err := <-ran:
		return nil, fmt.Errorf("router: %w", err)
	}
	return func() error { return errors.Join(router.Close(), <-ran) }, nil
}

// watermillReads reads a topic by a Router whose handler decodes the envelope by encoding/json.
func watermillReads(ctx context.Context, topic string, sub message.Subscriber, t *timeline) (func() error, error) {
	return watermillRouter(ctx, topic, sub, func(body []byte) error {
		err := decodeBytes(body)
		if err == nil {
			t.handled()
		}
		return err
	})
}

// watermillPublishes measures an adapter that waits for each message, and closes it.
func (l *lab) watermillPublishes(pub message.Publisher, topic string, bodies [][]byte) (sample, error) {
	next := 0
	n, start, err := sustain(l.run, func() (int, error) {
		next = (next + 1) % len(bodies)
		return 1, pub.Publish(topic, message.NewMessage(watermill.NewUUID(), bodies[next]))
	})
	return rateSample(n, since(start)), errors.Join(err, pub.Close())
}

// watermillFills stores n messages as an adapter writes them, and closes it.
func watermillFills(pub message.Publisher, topic string, bodies [][]byte, n int) error {
	for i := range n {
		if err := pub.Publish(topic, message.NewMessage(watermill.NewUUID(), bodies[i%len(bodies)])); err != nil {
			return errors.Join(err, pub.Close())
		}
	}
	return pub.Close()
}
