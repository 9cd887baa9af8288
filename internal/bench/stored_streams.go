package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill-redisstream/pkg/redisstream"
	goredis "github.com/redis/go-redis/v9"

	"github.com/eventbus-go/eventbus/internal/testbroker"
	"github.com/eventbus-go/eventbus/schema"
)

// streamsRows measure publishing to and consuming from Redis Streams, on a server that appends to a file and syncs it
// each second, as a durable broker has to be set up.
func streamsRows(ctx context.Context, l *lab) ([]row, error) {
	server, err := testbroker.Start(ctx, testbroker.RedisOptions{
		Name: "bench", Args: []string{"--appendonly", "yes", "--appendfsync", "everysec", "--auto-aof-rewrite-percentage", "0"},
	})
	if err != nil {
		return nil, err
	}
	defer server.Stop()
	bodies, err := bodies()
	if err != nil {
		return nil, err
	}
	s := &streamLab{lab: l, server: server, bodies: bodies}
	ours := fmt.Sprintf("redis+stream://%s?read_timeout=%v&write_timeout=%v", server.Addr(), patience, patience)
	published, err := l.inTurns(ctx,
		s.cleared(side{"Emit to Streams", l.emitTo(ours, routeTo(oneChannel))}),
		s.cleared(side{"raw connection, XADD", s.rawPublish(true)}),
		s.cleared(side{"raw connection, XADD of the body alone", s.rawPublish(false)}),
		s.cleared(side{"watermill-redisstream Publisher", s.watermillPublish}),
	)
	if err != nil {
		return nil, err
	}
	consumed, err := l.inTurns(ctx,
		s.cleared(side{"Streams to handler", l.stored(200_000, fillOurs(ours), readOurs(ours))}),
		s.cleared(side{"go-redis XREADGROUP COUNT 100, XACK", l.stored(200_000, s.fill, s.read)}),
		s.cleared(side{"watermill-redisstream, Router, encoding/json", l.stored(5_000, s.watermillFill, s.watermillRead)}),
	)
	if err != nil {
		return nil, err
	}
	return s.rows(published, consumed), nil
}

func (s *streamLab) rows(published, consumed [][]sample) []row {
	pub, pubWM := compare(published[0], published[1], rateOf), compare(published[0], published[3], rateOf)
	sub, subWM := compare(consumed[0], consumed[1], rateOf), compare(consumed[0], consumed[2], rateOf)
	return []row{
		row{what: "Emit to Redis Streams, 1 channel, one caller", got: medians(published[0]), ratios: pub, base: "raw"}.
			need("0.7 × raw", pub.mid >= 0.7),
		row{what: "  the same", got: newSample(), ratios: pubWM, base: "watermill"}.need("10 × watermill", pubWM.mid >= 10),
		baseRow("  raw: one connection, pipelined XADD of the same fields, encoded before", published[1]),
		baseRow("  the same with the body alone", published[2]),
		baseRow("  watermill: watermill-redisstream, one XADD after the other", published[3]),
		row{what: "Redis Streams to handler, acked, data as bytes", got: medians(consumed[0]), ratios: sub, base: "loop"}.
			need("1 × loop", sub.mid >= 1),
		row{what: "  the same", got: newSample(), ratios: subWM, base: "watermill"}.need("10 × watermill", subWM.mid >= 10),
		baseRow("  loop: go-redis XREADGROUP COUNT 100, one XACK, nothing decoded", consumed[1]),
		baseRow("  watermill: watermill-redisstream, Router, encoding/json", consumed[2]),
	}
}

// A streamLab is what the sides of Streams share.
type streamLab struct {
	*lab
	server *testbroker.Redis
	bodies [][]byte
}

// cleared empties the server after each run, so that no run pays for the memory of another.
func (s *streamLab) cleared(of side) side {
	return side{of.name, func(ctx context.Context) (sample, error) {
		got, err := of.run(ctx)
		return got, errors.Join(err, s.server.Client().FlushAll(ctx).Err())
	}}
}

func (s *streamLab) client() *goredis.Client {
	return goredis.NewClient(&goredis.Options{Addr: s.server.Addr()})
}

// rawPublish is what Redis and the sockets allow: commands written down before, while a second goroutine counts replies. With
// meta it sends what ours sends: beside the body a field with id, type, key, priority and time.
func (s *streamLab) rawPublish(meta bool) func(context.Context) (sample, error) {
	return func(context.Context) (sample, error) {
		c, err := dialRaw(s.server.Addr())
		if err != nil {
			return sample{}, err
		}
		frames := make([][]byte, len(s.bodies))
		for i, body := range s.bodies {
			frames[i] = command("XADD", oneChannel, "*", "body", string(body))
			if meta {
				frames[i] = command("XADD", oneChannel, "*", "meta", metaOf(i), "body", string(body))
			}
		}
		next := 0
		n, start, err := sustain(s.run, func() (int, error) {
			for range stride {
				if _, err := c.out.Write(frames[next]); err != nil {
					return 0, err
				}
				next = (next + 1) % len(frames)
			}
			return stride, nil
		})
		err = errors.Join(err, c.finish(2*n)) // the reply to XADD has two lines
		return rateSample(n, since(start)), err
	}
}

// metaOf is the field that ours has beside the body.
func metaOf(user int) string {
	text := "1"
	for _, part := range []string{schema.NewID(), eventType, keyOf(user), "1", eventNanos, ""} {
		text += fmt.Sprintf(" %d:%s", len(part), part)
	}
	return text
}

func (s *streamLab) fill(ctx context.Context, n int) (string, error) {
	client := s.client()
	defer client.Close()
	channel := newPlace()
	for sent := 0; sent < n; {
		pipe := client.Pipeline()
		for range min(1000, n-sent) {
			pipe.XAdd(ctx, &goredis.XAddArgs{Stream: channel, Values: []any{"body", s.bodies[sent%len(s.bodies)]}})
			sent++
		}
		if _, err := pipe.Exec(ctx); err != nil {
			return "", err
		}
	}
	return channel, nil
}

// read is the loop that one writes: a hundred entries at a time, then one XACK for all of them.
func (s *streamLab) read(ctx context.Context, channel string, t *timeline) (func() error, error) {
	client := s.client()
	if err := client.XGroupCreate(ctx, channel, "bench", "0").Err(); err != nil {
		return nil, err
	}
	ended := make(chan error, 1)
	go func() { ended <- s.readLoop(ctx, client, channel, t) }()
	return func() error { return errors.Join(<-ended, client.Close()) }, nil
}

func (s *streamLab) readLoop(ctx context.Context, client *goredis.Client, channel string, t *timeline) error {
	for t.count.Load() < t.want {
		got, err := client.XReadGroup(ctx, &goredis.XReadGroupArgs{
			Group: "bench", Consumer: "c", Streams: []string{channel, ">"}, Count: 100, Block: patience,
		}).Result()
		if err != nil {
			return err
		}
		ids := make([]string, len(got[0].Messages))
		for i, m := range got[0].Messages {
			ids[i] = m.ID
		}
		if err := client.XAck(ctx, channel, "bench", ids...).Err(); err != nil {
			return err
		}
		for range ids {
			t.handled()
		}
	}
	return nil
}

func (s *streamLab) publisher(client *goredis.Client) (*redisstream.Publisher, error) {
	return redisstream.NewPublisher(redisstream.PublisherConfig{Client: client}, watermill.NopLogger{})
}

// watermillPublish is Watermill's adapter, which waits for each message.
func (s *streamLab) watermillPublish(context.Context) (sample, error) {
	client := s.client()
	pub, err := s.publisher(client)
	if err != nil {
		return sample{}, err
	}
	return s.watermillPublishes(pub, oneChannel, s.bodies)
}

// watermillFill stores entries as Watermill's adapter writes them.
func (s *streamLab) watermillFill(_ context.Context, n int) (string, error) {
	pub, err := s.publisher(s.client())
	if err != nil {
		return "", err
	}
	topic := newPlace()
	return topic, watermillFills(pub, topic, s.bodies, n)
}

func (s *streamLab) watermillRead(ctx context.Context, topic string, t *timeline) (func() error, error) {
	sub, err := redisstream.NewSubscriber(redisstream.SubscriberConfig{
		Client: s.client(), ConsumerGroup: "bench", OldestId: "0",
	}, watermill.NopLogger{})
	if err != nil {
		return nil, err
	}
	return watermillReads(ctx, topic, sub, t)
}
