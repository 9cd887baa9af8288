package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/eventbus-go/eventbus/bus"
)

const (
	frozenRate   = 5_000            // events per second
	frozenMaxP99 = time.Millisecond // of a call of Emit
	frozenMax    = time.Second
)

// frozenRows measure what callers of Emit notice of a redis-server that is stopped as if frozen: it keeps its
// connections and answers nothing. There is no base: go-redis's PUBLISH would wait for its timeout, and then again.
func frozenRows(ctx context.Context, l *lab) ([]row, error) {
	if l.frozen == 0 {
		return nil, nil
	}
	got, err := l.frozenEmit(ctx)
	if err != nil {
		return nil, err
	}
	l.say("  1/1 %-46s %s", "Emit, redis-server frozen", brief(got))
	return []row{
		row{what: fmt.Sprintf("Emit at 5,000/s with redis-server frozen for %v", l.frozen), got: got, ratios: noRatio}.
			need("p99 1 ms, max 1 s", got.p99 <= float64(frozenMaxP99), got.max <= float64(frozenMax)),
	}, nil
}

func (l *lab) frozenEmit(ctx context.Context) (s sample, err error) {
	quiet := bus.WithLogger(slog.New(slog.DiscardHandler)) // it has a lot to say
	b, err := bus.OpenConfig(ctx, bus.Config{URL: l.redis.URL()}, quiet)
	if err != nil {
		return s, err
	}
	for i := range 16 {
		if err := b.Publish(ctx, newEvent(i)); err != nil {
			return s, fmt.Errorf("connecting: %w", err)
		}
	}
	if err := l.redis.Freeze(); err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, l.redis.Thaw()) }()
	ns := make([]int64, int(l.frozen.Seconds()*frozenRate))
	start := now()
	err = tick(len(ns), time.Second/frozenRate, func(i int) error {
		begin := now()
		err := b.Emit(ctx, newEvent(i%users))
		ns[i] = max(now()-begin-l.clock, 0)
		return err
	})
	if err != nil {
		return s, err
	}
	took := since(start)
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	_ = b.Close(ctx) // it says what it could not send
	if ledger := b.Stats().Published; !ledger.Balanced() {
		return s, fmt.Errorf("the ledger does not balance: %+v", ledger)
	}
	s = costSample(ns)
	s.rate = rateSample(len(ns), took).rate
	return s, nil
}
