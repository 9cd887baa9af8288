package main

import (
	"context"
	"errors"

	goredis "github.com/redis/go-redis/v9"

	"github.com/eventbus-go/eventbus/router"
)

// publishRows measure sustained publishing to Redis by one caller, from the first event to the confirmation of the
// last. The client's side of it is all ours: nobody subscribes.
func publishRows(ctx context.Context, l *lab) ([]row, error) {
	bodies, err := bodies()
	if err != nil {
		return nil, err
	}
	three, err := l.inTurns(ctx,
		side{"Emit, 3 channels", l.sustainedEmit(router.Config{})},
		side{"raw connection, 3 channels", l.rawPublish(frames(bodies, threeChannels...), len(threeChannels))},
		side{"loop of three go-redis PUBLISH", l.loopPublish(bodies)},
	)
	if err != nil {
		return nil, err
	}
	one, err := l.inTurns(ctx,
		side{"Emit, 1 channel", l.sustainedEmit(toOne)},
		side{"raw connection, 1 channel", l.rawPublish(frames(bodies, oneChannel), 1)},
	)
	if err != nil {
		return nil, err
	}
	raw3, loop3 := compare(three[0], three[1], rateOf), compare(three[0], three[2], rateOf)
	raw1 := compare(one[0], one[1], rateOf)
	l.figures[keyPub3Raw], l.figures[keyPub3Loop], l.figures[keyPub1Raw] = raw3.mid, loop3.mid, raw1.mid
	return []row{
		row{what: "Emit to Redis Pub/Sub, 3 channels, one caller", got: medians(three[0]), ratios: raw3, base: "raw"}.
			need("0.65 × raw", raw3.mid >= 0.65),
		row{what: "  the same", got: newSample(), ratios: loop3, base: "loop"}.need("30 × loop", loop3.mid >= 30),
		baseRow("  raw: one connection, pipelined, encoded before", three[1]),
		baseRow("  loop: three go-redis PUBLISH for each event", three[2]),
		row{what: "Emit to Redis Pub/Sub, 1 channel, one caller", got: medians(one[0]), ratios: raw1, base: "raw"}.
			need("0.55 × raw", raw1.mid >= 0.55),
		baseRow("  raw: one connection, pipelined, encoded before", one[1]),
	}, nil
}

// sustainedEmit makes, encodes, routes and emits events as fast as one caller can, and waits until Redis has confirmed
// the last of them.
func (l *lab) sustainedEmit(rules router.Config) func(context.Context) (sample, error) {
	return l.emitTo(l.url(), rules)
}

// rawPublish is what Redis and the sockets allow: commands written down before are appended to a buffer and written,
// while a second goroutine counts the replies. Nothing is made, encoded or routed.
func (l *lab) rawPublish(frames [][]byte, perEvent int) func(context.Context) (sample, error) {
	return func(context.Context) (sample, error) {
		c, err := dialRaw(l.redis.Addr())
		if err != nil {
			return sample{}, err
		}
		next := 0
		n, start, err := sustain(l.run, func() (int, error) {
			for range stride {
				if _, err := c.out.Write(frames[next]); err != nil {
					return 0, err
				}
				next = (next + 1) % len(frames)
			}
			return stride, nil
		})
		err = errors.Join(err, c.finish(n*perEvent))
		return rateSample(n, since(start)), err
	}
}

// loopPublish is what a service does without a library: a PUBLISH for each channel, each waiting for its reply. The
// body is encoded before, which favours it.
func (l *lab) loopPublish(bodies [][]byte) func(context.Context) (sample, error) {
	return func(ctx context.Context) (sample, error) {
		client := l.client()
		defer client.Close()
		next := 0
		n, start, err := sustain(l.run, func() (int, error) {
			body := bodies[next]
			next = (next + 1) % len(bodies)
			for _, ch := range threeChannels {
				if err := client.Publish(ctx, ch, body).Err(); err != nil {
					return 0, err
				}
			}
			return 1, nil
		})
		return rateSample(n, since(start)), err
	}
}

// client is a go-redis client as one gets it with a pool that is large enough for the callers of every row.
func (l *lab) client() *goredis.Client {
	return goredis.NewClient(&goredis.Options{Addr: l.redis.Addr(), PoolSize: callers})
}
