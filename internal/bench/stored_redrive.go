package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/internal/testbroker"
	"github.com/eventbus-go/eventbus/schema"
	"github.com/eventbus-go/eventbus/store/deadletter"
)

// redriveTarget is how many dead letters a second are to be sent again.
const redriveTarget = 20_000

// redriveRows measure how fast dead letters on a Redis server are sent again to a stream of it, each removed once it is taken. The
// server appends to a file and syncs it each second.
func redriveRows(ctx context.Context, l *lab) ([]row, error) {
	server, err := testbroker.Start(ctx, testbroker.RedisOptions{
		Name: "bench", Args: []string{"--appendonly", "yes", "--appendfsync", "everysec", "--auto-aof-rewrite-percentage", "0"},
	})
	if err != nil {
		return nil, err
	}
	defer server.Stop()
	n := max(int(100_000*l.run.Seconds()), 1000)
	url := fmt.Sprintf("redis+stream://%s?read_timeout=%v&write_timeout=%v", server.Addr(), patience, patience)
	runs, err := l.inTurns(ctx, side{"redrive", func(ctx context.Context) (sample, error) {
		got, err := redriven(ctx, url, n)
		return got, errors.Join(err, server.Client().FlushAll(ctx).Err())
	}})
	if err != nil {
		return nil, err
	}
	what := fmt.Sprintf("Redrive %d dead letters from Redis to Redis Streams", n)
	got := medians(runs[0])
	return []row{row{what: what, got: got, ratios: noRatio}.need("20,000/s", got.rate >= redriveTarget)}, nil
}

// redriven puts n letters into the store of a broker, and times their redrive.
func redriven(ctx context.Context, url string, n int) (sample, error) {
	cfg := blocking(url, routeTo(newPlace()))
	cfg.DeadLetters = url
	b, err := bus.OpenConfig(ctx, cfg)
	if err != nil {
		return sample{}, err
	}
	store := b.DeadLetters()
	if err := putLetters(ctx, store, cfg.Rules[0].Channels[0], n); err != nil {
		return sample{}, errors.Join(err, b.Close(ctx))
	}
	start := now()
	r, err := deadletter.Redrive(ctx, store, deadletter.ToChannel(b.Send), deadletter.RedriveOptions{})
	took := since(start)
	left, statsErr := store.Stats(ctx)
	if err == nil && (r.Sent != n || left.Depth != 0) {
		err = fmt.Errorf("of %d letters %d were sent, and %d are left", n, r.Sent, left.Depth)
	}
	if got := b.Stats().Published.Confirmed; err == nil && got != int64(n) {
		err = fmt.Errorf("%d of %d letters were confirmed", got, n)
	}
	return rateSample(n, took), errors.Join(err, statsErr, b.Close(ctx))
}

func putLetters(ctx context.Context, store deadletter.Store, channel string, n int) error {
	failed := time.Now().Add(-time.Hour)
	var batch []deadletter.Letter
	for i := range n {
		e := newEvent(i % users)
		e.ID, e.Time, e.Source = fmt.Sprint("event-", i), failed, "bench"
		body, err := schema.Encode(e)
		if err != nil {
			return err
		}
		l := deadletter.Letter{
			Rev: "1", Subscription: "bench", Channel: channel, Broker: "redis+stream", EventID: e.ID, EventType: e.Type, Key: e.Key(),
			Time: e.Time, Body: body, Size: len(body), Reason: deadletter.ReasonFailed, Error: "no", Attempts: 1,
			First: failed, Last: failed.Add(time.Duration(i) * time.Millisecond),
		}
		l.SetID()
		if batch = append(batch, l); len(batch) == 500 || i == n-1 {
			if err := store.Put(ctx, batch...); err != nil {
				return err
			}
			batch = batch[:0]
		}
	}
	return nil
}
