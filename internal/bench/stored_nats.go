package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/ThreeDotsLabs/watermill"
	wmjetstream "github.com/ThreeDotsLabs/watermill-nats/v2/pkg/jetstream"
	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	_ "github.com/eventbus-go/eventbus/brokers/nats" // nats:// and nats+js://
	"github.com/eventbus-go/eventbus/internal/testbroker"
	"github.com/eventbus-go/eventbus/router"
)

// natsRows measure sustained publishing to core NATS by one caller, three subjects for each event, against a loop of the
// client's Publish of bytes that were encoded before.
func natsRows(ctx context.Context, l *lab) ([]row, error) {
	server, err := testbroker.LaunchNATS(ctx, testbroker.NATSOptions{Name: "bench"})
	if err != nil {
		return nil, err
	}
	defer server.Stop()
	bodies, err := bodies()
	if err != nil {
		return nil, err
	}
	runs, err := l.inTurns(ctx,
		side{"Emit, 3 subjects", l.emitTo(server.URL(), router.Config{})},
		side{"loop of three nc.Publish", l.rawNATS(server.URL(), bodies)},
	)
	if err != nil {
		return nil, err
	}
	r := compare(runs[0], runs[1], rateOf)
	return []row{
		row{what: "Emit to core NATS, 3 channels, one caller", got: medians(runs[0]), ratios: r, base: "nc.Publish"}.
			need("0.75 × nc.Publish", r.mid >= 0.75),
		baseRow("  nc.Publish: a loop of three, encoded before", runs[1]),
	}, nil
}

func (l *lab) rawNATS(url string, bodies [][]byte) func(context.Context) (sample, error) {
	return func(context.Context) (sample, error) {
		nc, err := natsgo.Connect(url)
		if err != nil {
			return sample{}, err
		}
		defer nc.Close()
		next := 0
		n, start, err := sustain(l.run, func() (int, error) {
			for range stride {
				for _, subject := range threeChannels {
					if err := nc.Publish(subject, bodies[next]); err != nil {
						return 0, err
					}
				}
				next = (next + 1) % len(bodies)
			}
			return stride, nil
		})
		err = errors.Join(err, nc.FlushTimeout(patience))
		return rateSample(n, since(start)), err
	}
}

// jetstreamRows measure publishing to and consuming from a stream in files.
func jetstreamRows(ctx context.Context, l *lab) ([]row, error) {
	server, err := testbroker.LaunchNATS(ctx, testbroker.NATSOptions{JetStream: true, Name: "bench"})
	if err != nil {
		return nil, err
	}
	defer server.Stop()
	bodies, err := bodies()
	if err != nil {
		return nil, err
	}
	j := &jetLab{lab: l, url: server.URL(), bodies: bodies}
	ours := server.JetURL()
	published, err := l.inTurns(ctx,
		side{"Emit to JetStream", l.emitTo(ours, routeTo(oneChannel))},
		side{"PublishAsync, 4096 pending", j.publishAsync(true)},
		side{"PublishAsync, 4096 pending, body alone", j.publishAsync(false)},
		side{"watermill-nats Publisher", j.watermillPublish},
	)
	if err != nil {
		return nil, err
	}
	consumed, err := l.inTurns(ctx,
		side{"JetStream to handler", l.stored(120_000, fillOurs(ours), readOurs(ours))},
		side{"Consume and Ack", l.stored(120_000, fillOurs(ours), j.consume)},
		side{"watermill-nats, Router, encoding/json", l.stored(4_000, j.watermillFill, j.watermillRead)},
	)
	if err != nil {
		return nil, err
	}
	return j.rows(published, consumed), nil
}

func (j *jetLab) rows(published, consumed [][]sample) []row {
	pub, pubWM := compare(published[0], published[1], rateOf), compare(published[0], published[3], rateOf)
	sub, subWM := compare(consumed[0], consumed[1], rateOf), compare(consumed[0], consumed[2], rateOf)
	return []row{
		row{what: "Emit to JetStream, 1 channel, one caller", got: medians(published[0]), ratios: pub, base: "async"}.
			need("0.8 × async", pub.mid >= 0.8),
		row{what: "  the same", got: newSample(), ratios: pubWM, base: "watermill"}.need("10 × watermill", pubWM.mid >= 10),
		baseRow("  async: PublishAsync, 4096 pending, the same ids and types, encoded before", published[1]),
		baseRow("  the same without them, so that a resend is stored twice", published[2]),
		baseRow("  watermill: watermill-nats, one Publish after the other", published[3]),
		row{what: "JetStream to handler, acked, data as bytes", got: medians(consumed[0]), ratios: sub, base: "Consume"}.
			need("0.8 × Consume", sub.mid >= 0.8),
		row{what: "  the same", got: newSample(), ratios: subWM, base: "watermill"}.need("10 × watermill", subWM.mid >= 10),
		baseRow("  Consume: the client's, with Ack, nothing decoded", consumed[1]),
		baseRow("  watermill: watermill-nats, Router, encoding/json", consumed[2]),
	}
}

// A jetLab is what the sides of JetStream share.
type jetLab struct {
	*lab
	url    string
	bodies [][]byte
}

// connect returns a client whose stream is there.
func (j *jetLab) connect(ctx context.Context, opts ...jetstream.JetStreamOpt) (*natsgo.Conn, jetstream.JetStream, error) {
	nc, err := natsgo.Connect(j.url)
	if err != nil {
		return nil, nil, err
	}
	js, err := jetstream.New(nc, opts...)
	if err == nil {
		_, err = js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{Name: "raw", Subjects: []string{"raw.>"}})
	}
	if err != nil {
		nc.Close()
		return nil, nil, err
	}
	return nc, js, nil
}

// publishAsync is the client's best: as many as 4096 publishes are on their way at once. With ids it sends what ours sends: the
// type, and an id for each message, so that a resend is stored once.
func (j *jetLab) publishAsync(ids bool) func(context.Context) (sample, error) {
	return func(ctx context.Context) (sample, error) {
		nc, js, err := j.connect(ctx, jetstream.WithPublishAsyncMaxPending(4096))
		if err != nil {
			return sample{}, err
		}
		defer nc.Close()
		next := 0
		n, start, err := sustain(j.run, func() (int, error) {
			for range stride {
				msg := &natsgo.Msg{Subject: "raw.events", Data: j.bodies[next]}
				if ids {
					msg.Header = natsgo.Header{"Eb-Type": {eventType}, "Nats-Msg-Id": {fmt.Sprintf("0199cbd6-1b2a-7abc-8d%018d|raw.events", places.Add(1))}}
				}
				if _, err := js.PublishMsgAsync(msg); err != nil {
					return 0, err
				}
				next = (next + 1) % len(j.bodies)
			}
			return stride, nil
		})
		select {
		case <-js.PublishAsyncComplete():
		case <-ctx.Done():
			err = errors.Join(err, ctx.Err())
		}
		return rateSample(n, since(start)), err
	}
}

// consume is the client's Consume with its defaults, acking each message.
func (j *jetLab) consume(ctx context.Context, channel string, t *timeline) (func() error, error) {
	nc, js, err := j.connect(ctx)
	if err != nil {
		return nil, err
	}
	name, err := js.StreamNameBySubject(ctx, channel)
	if err != nil {
		nc.Close()
		return nil, err
	}
	consumer, err := js.CreateConsumer(ctx, name, jetstream.ConsumerConfig{
		AckPolicy: jetstream.AckExplicitPolicy, FilterSubject: channel,
	})
	if err != nil {
		nc.Close()
		return nil, err
	}
	consuming, err := consumer.Consume(func(m jetstream.Msg) {
		if m.Ack() == nil {
			t.handled()
		}
	})
	if err != nil {
		nc.Close()
		return nil, err
	}
	return func() error {
		consuming.Stop()
		nc.Close()
		return nil
	}, nil
}

func (j *jetLab) publisher() (*wmjetstream.Publisher, error) {
	return wmjetstream.NewPublisher(wmjetstream.PublisherConfig{URL: j.url, Logger: watermill.NopLogger{}})
}

// watermillPublish is Watermill's adapter, which waits for each message.
func (j *jetLab) watermillPublish(ctx context.Context) (sample, error) {
	nc, js, err := j.connect(ctx)
	if err != nil {
		return sample{}, err
	}
	defer nc.Close()
	const topic = "watermill_events"
	if _, err := js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{Name: topic, Subjects: []string{topic}}); err != nil {
		return sample{}, err
	}
	pub, err := j.publisher()
	if err != nil {
		return sample{}, err
	}
	return j.watermillPublishes(pub, topic, j.bodies)
}

// watermillFill stores messages as Watermill's adapter writes them.
func (j *jetLab) watermillFill(ctx context.Context, n int) (string, error) {
	nc, js, err := j.connect(ctx)
	if err != nil {
		return "", err
	}
	defer nc.Close()
	topic := fmt.Sprintf("watermill_stored%d", places.Add(1))
	if _, err := js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{Name: topic, Subjects: []string{topic}}); err != nil {
		return "", err
	}
	pub, err := j.publisher()
	if err != nil {
		return "", err
	}
	return topic, watermillFills(pub, topic, j.bodies, n)
}

func (j *jetLab) watermillRead(ctx context.Context, topic string, t *timeline) (func() error, error) {
	sub, err := wmjetstream.NewSubscriber(wmjetstream.SubscriberConfig{URL: j.url, Logger: watermill.NopLogger{}})
	if err != nil {
		return nil, err
	}
	return watermillReads(ctx, topic, sub, t)
}
