package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/eventbus-go/eventbus/brokers"
	_ "github.com/eventbus-go/eventbus/brokers/rabbitmq" // amqp://
	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/internal/testbroker"
	"github.com/eventbus-go/eventbus/schema"
)

// poisonTarget is how much longer events may take, of which one always fails.
const poisonTarget = 1.1

// A poisoned is a broker on which one event of many always fails.
type poisoned struct {
	name  string
	start func(ctx context.Context) (url string, stop func() error, err error)
}

// poisonedBrokers are on servers of their own, one after the other.
var poisonedBrokers = []poisoned{
	{"memory", func(context.Context) (string, func() error, error) {
		return "memory://", func() error { return nil }, nil
	}},
	{"Redis Pub/Sub", func(ctx context.Context) (string, func() error, error) { return startRedis(ctx, "redis") }},
	{"Redis Streams", func(ctx context.Context) (string, func() error, error) { return startRedis(ctx, "redis+stream") }},
	{"JetStream", func(ctx context.Context) (string, func() error, error) {
		n, err := testbroker.LaunchNATS(ctx, testbroker.NATSOptions{Name: "bench", JetStream: true})
		if err != nil {
			return "", nil, err
		}
		return n.JetURL(), n.Stop, nil
	}},
	{"Kafka", func(ctx context.Context) (string, func() error, error) {
		k, err := testbroker.StartKafkaServer(ctx, testbroker.KafkaOptions{Name: "bench"})
		if err != nil {
			return "", nil, err
		}
		return k.URL(), k.Stop, nil
	}},
	{"RabbitMQ", func(ctx context.Context) (string, func() error, error) {
		r, err := testbroker.StartRabbitMQServer(ctx, testbroker.RabbitMQOptions{Name: "bench"})
		if err != nil {
			return "", nil, err
		}
		return r.URL(), r.Stop, nil
	}},
}

func startRedis(ctx context.Context, scheme string) (string, func() error, error) {
	r, err := testbroker.Start(ctx, testbroker.RedisOptions{Name: "bench"})
	if err != nil {
		return "", nil, err
	}
	url := strings.Replace(r.URL(), "redis", scheme, 1) + fmt.Sprintf("?read_timeout=%v&write_timeout=%v", patience, patience)
	return url, r.Stop, nil
}

// poisonRows measure what 10,000 events cost of which one always fails, against as many good ones: from the first Emit until all
// the good ones are handled. The retry policy is the default. A broker that is not installed is left out.
func poisonRows(ctx context.Context, l *lab) (rows []row, err error) {
	n := max(int(10_000*min(l.run.Seconds()*2, 1)), 100)
	for _, b := range poisonedBrokers {
		r, err := l.poison(ctx, b, n)
		if errors.Is(err, testbroker.ErrNoServer) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", b.name, err)
		}
		rows = append(rows, r)
	}
	return rows, nil
}

func (l *lab) poison(ctx context.Context, b poisoned, n int) (r row, err error) {
	url, stop, err := b.start(ctx)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	run := func(bad int) func(context.Context) (sample, error) {
		return func(ctx context.Context) (sample, error) { return handleAll(ctx, url, n, bad) }
	}
	often := *l // a run is a tenth of a second or two, of which a busy machine makes anything
	often.rounds *= 3
	got, err := often.inTurns(ctx, side{b.name + ", one always fails", run(n / 2)}, side{b.name + ", all good", run(-1)})
	if err != nil {
		return r, err
	}
	times := compare(got[1], got[0], rateOf) // the ratio of the times is that of the rates, turned round
	what := fmt.Sprintf("%s, %d events of which one always fails", b.name, n)
	return row{what: what, got: medians(got[0]), ratios: times, base: "clean time"}.need("1.1 × clean time", times.mid <= poisonTarget), nil
}

// handleAll emits n events, of which the one numbered bad fails, and times until the others are handled.
func handleAll(ctx context.Context, url string, n, bad int) (sample, error) {
	channel := newPlace()
	cfg := blocking(url, routeTo(channel))
	cfg.DeadLetters = "memory://"
	b, err := bus.OpenConfig(ctx, cfg)
	if err != nil {
		return sample{}, err
	}
	var handled atomic.Int64
	s := bus.Subscription{Name: channel, Channels: []string{channel}, Handler: func(_ context.Context, e schema.Event) error {
		if e.ID == "bad" {
			return errors.New("it always fails")
		}
		handled.Add(1)
		return nil
	}}
	if grouped(url) {
		s.Group = channel
	}
	if _, err := b.Subscribe(s); err != nil {
		return sample{}, errors.Join(err, b.Close(ctx))
	}
	if err := b.Start(ctx); err != nil {
		return sample{}, errors.Join(err, b.Close(ctx))
	}
	start, want := now(), int64(n)
	for i := range n {
		e := newEvent(i % users)
		if i == bad {
			e.ID, e.Subject = "bad", "user:bad"
			want--
		}
		if err := b.Emit(ctx, e); err != nil {
			return sample{}, errors.Join(err, b.Close(ctx))
		}
	}
	err = await(ctx, &handled, want)
	took := since(start)
	closing, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return rateSample(n, took), errors.Join(err, b.Close(closing))
}

// grouped reports whether the broker of a URL has consumer groups.
func grouped(url string) bool {
	scheme, _, _ := strings.Cut(url, ":")
	return slices.Contains(brokers.Promising(func(c brokers.Capabilities) bool { return c.Groups }), scheme)
}
