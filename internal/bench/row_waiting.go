package main

import (
	"context"
	"sync"
	"sync/atomic"
)

// callers is how many goroutines publish and wait at the same time.
const callers = 64

// waitingRows compare Publish, which waits for the broker, with go-redis's PUBLISH, 64 callers each. The base has a
// connection for each caller and its body encoded before; Publish makes and encodes an event each time.
func waitingRows(ctx context.Context, l *lab) ([]row, error) {
	bodies, err := bodies()
	if err != nil {
		return nil, err
	}
	runs, err := l.inTurns(ctx,
		side{"Publish, 64 callers", func(ctx context.Context) (sample, error) {
			r, err := openRig(ctx, blocking(l.url(), toOne))
			if err != nil {
				return sample{}, err
			}
			s, n, err := l.together(ctx, func(ctx context.Context, i int) error {
				return r.Publish(ctx, newEvent(i%users))
			})
			if err != nil {
				return sample{}, err
			}
			return s, r.finish(ctx, n)
		}},
		side{"go-redis PUBLISH, 64 callers", func(ctx context.Context) (sample, error) {
			client := l.client()
			defer client.Close()
			s, _, err := l.together(ctx, func(ctx context.Context, i int) error {
				return client.Publish(ctx, oneChannel, bodies[i%len(bodies)]).Err()
			})
			return s, err
		}},
	)
	if err != nil {
		return nil, err
	}
	r := compare(runs[0], runs[1], rateOf)
	l.figures[keyPublish64] = r.mid
	return []row{
		row{what: "Publish (waits) to Redis Pub/Sub, 64 callers", got: medians(runs[0]), ratios: r, base: "sync"}.
			need("3 × sync", r.mid >= 3),
		baseRow("  sync: go-redis PUBLISH, 64 callers", runs[1]),
	}, nil
}

// together lets all callers call as often as they can until the time is over, and measures each call.
func (l *lab) together(ctx context.Context, call func(ctx context.Context, i int) error) (sample, int, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var all sync.WaitGroup
	var total atomic.Int64
	durations := make([][]int64, callers)
	start := now()
	for c := range callers {
		all.Go(func() {
			for i := c; since(start) < l.run; i++ {
				begin := now()
				if err := call(ctx, i); err != nil {
					cancel(err)
					return
				}
				durations[c] = append(durations[c], now()-begin)
				total.Add(1)
			}
		})
	}
	all.Wait()
	took := since(start)
	if err := context.Cause(ctx); err != nil {
		return sample{}, 0, err
	}
	var ns []int64
	for _, d := range durations {
		ns = append(ns, d...)
	}
	s := costSample(ns)
	s.rate = rateSample(len(ns), took).rate
	s.mean = newSample().mean // with 64 callers on two cores it is the rate again, and no cost
	return s, int(total.Load()), nil
}
