package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/schema"
)

const (
	latencyRate     = 10_000 // events per second
	latencyInterval = time.Second / latencyRate
)

// latencyRows measure the time from the publishing call to the handler at 10,000 events/s, through Redis. The base is
// the shortest way there is without a library: a synchronous go-redis PUBLISH of bytes encoded before, and a goroutine
// in a ReceiveMessage loop that does nothing but read the clock. Both are called at the same even pace. Time is taken
// from the start of the call, so a call of the base that comes late, because the one before had to wait for its reply,
// is not held against it: a pause of a millisecond is met by ten events of ours, which Emit never holds up, and by one of
// the base. The row below counts from when each call was due, for both.
func latencyRows(ctx context.Context, l *lab) ([]row, error) {
	bodies, err := bodies()
	if err != nil {
		return nil, err
	}
	runs, err := l.inTurns(ctx,
		side{"Emit to handler, 10,000/s", l.latencyOurs},
		side{"go-redis PUBLISH to ReceiveMessage, 10,000/s", l.latencySync(bodies)},
	)
	if err != nil {
		return nil, err
	}
	p50, p99 := compare(runs[0], runs[1], p50Of), compare(runs[0], runs[1], p99Of)
	l.figures[keyLatency] = p99.mid
	return []row{
		row{what: "Emit to handler over Redis at 10,000/s: p99", got: medians(runs[0]), ratios: p99, base: "sync"}.
			need("at most 2 × sync", p99.mid <= 2),
		dueRow("  the same, counted from when each call was due", runs[0], compare(runs[0], runs[1], dueOf), "sync"),
		row{what: "  the same: p50", got: newSample(), ratios: p50, base: "sync"}.need("at most 2 × sync", p50.mid <= 2),
		baseRow("  sync: go-redis PUBLISH to ReceiveMessage", runs[1]),
		dueRow("  sync, counted from when each call was due", runs[1], noRatio, ""),
	}, nil
}

// dueRow is a line for the p99 that counts from when each call was due.
func dueRow(what string, runs []sample, ratios ratio, base string) row {
	got := newSample()
	got.p99 = medians(runs).due
	return row{what: what, got: got, ratios: ratios, base: base}
}

// stamps are when each event was published and handled.
type stamps struct {
	begin, end []int64
	handled    atomic.Int64
}

func newStamps(n int) *stamps { return &stamps{begin: make([]int64, n), end: make([]int64, n)} }

// sample waits for the last event and summarises.
func (s *stamps) sample(ctx context.Context) (sample, error) {
	if err := await(ctx, &s.handled, int64(len(s.end))); err != nil {
		return sample{}, err
	}
	took := time.Duration(s.begin[len(s.begin)-1] - s.begin[0])
	ns, late := make([]int64, len(s.end)), make([]int64, len(s.end))
	for i := range ns {
		ns[i] = s.end[i] - s.begin[i]
		late[i] = s.end[i] - min(s.begin[i], s.begin[0]+int64(i)*int64(latencyInterval))
	}
	got := costSample(ns)
	got.mean = newSample().mean // the percentiles are what this is about
	got.due = costSample(late).p99
	got.rate = rateSample(len(ns)-1, took).rate
	return got, nil
}

// paced publishes at the pace of the row.
func (s *stamps) paced(publish func(i int) error) error {
	return tick(len(s.begin), latencyInterval, func(i int) error {
		s.begin[i] = now()
		return publish(i)
	})
}

// latencyOurs gives each event a user of its own, by which the handler knows it.
func (l *lab) latencyOurs(ctx context.Context) (sample, error) {
	b, err := bus.OpenConfig(ctx, bus.Config{URL: l.url(), Config: toOne, Publish: patient})
	if err != nil {
		return sample{}, err
	}
	s := newStamps(l.latency)
	stop, err := subscribe(ctx, b, bus.Subscription{
		Name: "bench", Channels: []string{oneChannel},
		Handler: func(_ context.Context, e schema.Event) error {
			at := now()
			i, err := strconv.Atoi(strings.TrimPrefix(e.Subject, "user:"))
			if err != nil || i >= len(s.end) {
				return nil // one of those that made the connections
			}
			s.end[i] = at
			s.handled.Add(1)
			return nil
		},
	})
	if err != nil {
		return sample{}, err
	}
	for i := range 16 {
		if err := b.Publish(ctx, newEvent(l.latency+i)); err != nil {
			return sample{}, fmt.Errorf("connecting: %w", err)
		}
	}
	if err := s.paced(func(i int) error { return b.Emit(ctx, newEvent(i)) }); err != nil {
		return sample{}, err
	}
	got, err := s.sample(ctx)
	if err != nil {
		return got, err
	}
	return got, stop()
}

// latencySync relies on the order of one connection: the k-th message is the k-th event.
func (l *lab) latencySync(bodies [][]byte) func(context.Context) (sample, error) {
	return func(ctx context.Context) (sample, error) {
		client := l.client()
		defer client.Close()
		pubsub := client.Subscribe(ctx, oneChannel)
		defer pubsub.Close()
		if _, err := pubsub.Receive(ctx); err != nil { // the confirmation
			return sample{}, err
		}
		if err := client.Ping(ctx).Err(); err != nil { // connects
			return sample{}, err
		}
		s := newStamps(l.latency)
		failed := make(chan error, 1)
		go func() {
			for i := range s.end {
				if _, err := pubsub.ReceiveMessage(ctx); err != nil {
					failed <- err
					return
				}
				s.end[i] = now()
				s.handled.Add(1)
			}
		}()
		err := s.paced(func(i int) error {
			return client.Publish(ctx, oneChannel, bodies[i%len(bodies)]).Err()
		})
		if err != nil {
			return sample{}, err
		}
		got, err := s.sample(ctx)
		select {
		case failure := <-failed:
			return got, failure
		default:
			return got, err
		}
	}
}
