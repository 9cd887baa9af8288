package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/router"
	"github.com/eventbus-go/eventbus/schema"
)

// brokerExperiments measure the other brokers, each on a real server of its own that stores on disk what it promises to
// keep.
var brokerExperiments = []experiment{
	{"streams", streamsRows},
	{"redrive", redriveRows},
	{"poison", poisonRows},
	{"nats", natsRows},
	{"jetstream", jetstreamRows},
	{"kafka", kafkaRows},
	{"rabbitmq", rabbitRows},
}

// places numbers the channels that are read once.
var places atomic.Int64

// newPlace returns the name of a channel that nobody has used.
func newPlace() string { return fmt.Sprintf("bench.stored%d", places.Add(1)) }

// routeTo sends every event to one channel.
func routeTo(channel string) router.Config {
	return router.Config{Rules: []router.Rule{{Name: "bench", Match: []string{">"}, Channels: []string{channel}}}}
}

// emitTo makes, encodes, routes and emits events to a broker as fast as one caller can, and waits until it has confirmed
// the last of them.
func (l *lab) emitTo(url string, rules router.Config) func(context.Context) (sample, error) {
	return func(ctx context.Context) (sample, error) {
		r, err := openRig(ctx, blocking(url, rules))
		if err != nil {
			return sample{}, err
		}
		n, start, err := sustain(l.run, func() (int, error) { return r.emit(ctx) })
		if err == nil {
			err = r.finish(ctx, n)
		}
		return rateSample(n, since(start)), err
	}
}

// A store is filled with n events, and says on which channel.
type store func(ctx context.Context, n int) (channel string, err error)

// A reader reads a channel from its first event on and tells t of each one that is handled and acked.
type reader func(ctx context.Context, channel string, t *timeline) (stop func() error, err error)

// stored measures how fast stored events are handled, from the first to the last of them: joining a group takes seconds
// on some brokers and is not what this is about. rate is about how many a second there will be.
func (l *lab) stored(rate int, fill store, read reader) func(context.Context) (sample, error) {
	n := max(int(float64(rate)*l.run.Seconds()), 200)
	return func(ctx context.Context) (sample, error) {
		channel, err := fill(ctx, n)
		if err != nil {
			return sample{}, fmt.Errorf("filling: %w", err)
		}
		t := &timeline{want: int64(n), done: make(chan struct{})}
		before := mallocs()
		stop, err := read(ctx, channel, t)
		if err != nil {
			return sample{}, err
		}
		s, err := t.wait(ctx)
		s.allocs = float64(mallocs()-before) / float64(n)
		return s, errors.Join(err, stop())
	}
}

// A timeline counts what is handled, and notes when the first and the last were.
type timeline struct {
	want        int64
	count       atomic.Int64
	first, last atomic.Int64
	done        chan struct{}
}

func (t *timeline) handled() {
	switch t.count.Add(1) {
	case 1:
		t.first.Store(now())
	case t.want:
		t.last.Store(now())
		close(t.done)
	}
}

// storedPatience is how long stored events may take, the joining of a group included.
const storedPatience = 60 * time.Second

func (t *timeline) wait(ctx context.Context) (sample, error) {
	late := time.NewTimer(storedPatience)
	defer late.Stop()
	select {
	case <-t.done:
	case <-ctx.Done():
		return newSample(), context.Cause(ctx)
	case <-late.C:
		return newSample(), errLost(t.want, t.count.Load())
	}
	return rateSample(int(t.want-1), time.Duration(t.last.Load()-t.first.Load())), nil
}

// fillOurs stores events through a bus.
func fillOurs(url string) store {
	return func(ctx context.Context, n int) (string, error) {
		channel := newPlace()
		return channel, fillChannel(ctx, url, channel, n)
	}
}

// fillChannel stores n events on a channel through a bus.
func fillChannel(ctx context.Context, url, channel string, n int) error {
	b, err := bus.OpenConfig(ctx, blocking(url, routeTo(channel)))
	if err != nil {
		return err
	}
	for i := range n {
		if err := b.Emit(ctx, newEvent(i%users)); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, storedPatience)
	defer cancel()
	if err := b.Close(ctx); err != nil {
		return err
	}
	if got := b.Stats().Published.Confirmed; got != int64(n) {
		return fmt.Errorf("%d of %d events were confirmed", got, n)
	}
	return nil
}

// readOurs is a subscription of a group with an untyped handler and the default chain: retry, timeout, recover.
func readOurs(url string) reader {
	return func(ctx context.Context, channel string, t *timeline) (func() error, error) {
		b, err := bus.OpenConfig(ctx, bus.Config{URL: url})
		if err != nil {
			return nil, err
		}
		return subscribe(ctx, b, bus.Subscription{
			Name: "bench", Group: "bench", Channels: []string{channel},
			Handler: func(_ context.Context, e schema.Event) error {
				if len(e.Data) == 0 {
					return errNoData
				}
				t.handled()
				return nil
			},
		})
	}
}
