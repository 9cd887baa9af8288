package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/eventbus-go/eventbus/brokers"
	_ "github.com/eventbus-go/eventbus/brokers/rabbitmq" // amqp://
	"github.com/eventbus-go/eventbus/internal/testbroker"
	"github.com/eventbus-go/eventbus/schema"
)

// rabbitRows measure publishing to and consuming from quorum queues of a single node.
func rabbitRows(ctx context.Context, l *lab) ([]row, error) {
	server, err := testbroker.StartRabbitMQServer(ctx, testbroker.RabbitMQOptions{Name: "bench"})
	if err != nil {
		return nil, err
	}
	defer server.Stop()
	bodies, err := bodies()
	if err != nil {
		return nil, err
	}
	r := &rabbitLab{lab: l, url: server.URL(), bodies: bodies}
	published, err := l.inTurns(ctx,
		r.emptied(side{"Emit to RabbitMQ", l.emitTo(r.url, routeTo(oneChannel))}),
		r.emptied(side{"batches of deferred confirms", r.publish}),
	)
	if err != nil {
		return nil, err
	}
	consumed, err := l.inTurns(ctx,
		side{"RabbitMQ to handler", l.stored(20_000, r.fill, readOurs(r.url))},
		side{"Consume, an ack for each hundred", l.stored(20_000, r.fill, r.read)},
	)
	if err != nil {
		return nil, err
	}
	pub, sub := compare(published[0], published[1], rateOf), compare(consumed[0], consumed[1], rateOf)
	return []row{
		row{what: "Emit to RabbitMQ, 1 channel, one caller, confirmed", got: medians(published[0]), ratios: pub, base: "loop"}.
			need("0.8 × loop", pub.mid >= 0.8),
		baseRow("  loop: batches of 1000 deferred confirms, the same properties, encoded before", published[1]),
		{what: "RabbitMQ to handler, acked, data as bytes", got: medians(consumed[0]), ratios: sub, base: "loop"},
		baseRow("  loop: Consume, prefetch 1000, an ack for each hundred, nothing decoded", consumed[1]),
	}, nil
}

// A rabbitLab is what the sides of RabbitMQ share.
type rabbitLab struct {
	*lab
	url    string
	bodies [][]byte
}

// rabbitGroup is the group whose queues there are.
const rabbitGroup = "bench"

// rabbitExchange is what ours publishes to unless the URL says otherwise.
const rabbitExchange = "eventbus"

// provision makes the queue of the group for a channel: what nobody has a queue for is not kept.
func (r *rabbitLab) provision(ctx context.Context, channel string) error {
	conn, err := brokers.Open(ctx, r.url)
	if err != nil {
		return err
	}
	provisioner, ok := conn.(brokers.Provisioner)
	if !ok {
		return errors.New("the driver makes no queues")
	}
	err = provisioner.Provision(ctx, brokers.Provision{
		Groups: []brokers.GroupProvision{{Group: rabbitGroup, Channels: []string{channel}}},
	})
	return errors.Join(err, conn.Close(ctx))
}

// queueOf is what the queue of a channel is called.
func queueOf(channel string) string { return rabbitExchange + ":" + rabbitGroup + ":" + channel }

// emptied makes the queue of oneChannel before each run and deletes it afterwards, so that no run pays for another.
func (r *rabbitLab) emptied(of side) side {
	return side{of.name, func(ctx context.Context) (sample, error) {
		if err := r.provision(ctx, oneChannel); err != nil {
			return sample{}, err
		}
		got, err := of.run(ctx)
		return got, errors.Join(err, r.withChannel(func(ch *amqp.Channel) error {
			_, err := ch.QueueDelete(queueOf(oneChannel), false, false, false)
			return err
		}))
	}}
}

// withChannel calls f with a channel of a connection of its own.
func (r *rabbitLab) withChannel(f func(*amqp.Channel) error) error {
	nc, err := amqp.Dial(r.url)
	if err != nil {
		return err
	}
	ch, err := nc.Channel()
	if err == nil {
		err = f(ch)
	}
	return errors.Join(err, nc.Close())
}

// rabbitBatch is how many messages are published before their confirms are waited for.
const rabbitBatch = 1000

// publish is what one writes: a batch of persistent messages with deferred confirms, then a wait for each.
func (r *rabbitLab) publish(ctx context.Context) (got sample, err error) {
	err = r.withChannel(func(ch *amqp.Channel) error {
		if err := ch.Confirm(false); err != nil {
			return err
		}
		confirms := make([]*amqp.DeferredConfirmation, 0, rabbitBatch)
		next := 0
		n, start, err := sustain(r.run, func() (int, error) {
			confirms = confirms[:0]
			for range rabbitBatch {
				c, err := ch.PublishWithDeferredConfirm(rabbitExchange, oneChannel, true, false, r.publishing(next))
				if err != nil {
					return 0, err
				}
				confirms = append(confirms, c)
				next = (next + 1) % len(r.bodies)
			}
			return rabbitBatch, confirmed(ctx, confirms)
		})
		got = rateSample(n, since(start))
		return err
	})
	return got, err
}

// publishing has the properties that ours has.
func (r *rabbitLab) publishing(user int) amqp.Publishing {
	at := time.Now()
	return amqp.Publishing{
		DeliveryMode: amqp.Persistent, MessageId: schema.NewID(), Type: eventType, Timestamp: at, Priority: eventPriority,
		Headers: amqp.Table{"eb-key": keyOf(user), "eb-time": at.UnixNano()}, Body: r.bodies[user],
	}
}

func confirmed(ctx context.Context, confirms []*amqp.DeferredConfirmation) error {
	for _, c := range confirms {
		switch ok, err := c.WaitContext(ctx); {
		case err != nil:
			return err
		case !ok:
			return errors.New("a message was not confirmed")
		}
	}
	return nil
}

func (r *rabbitLab) fill(ctx context.Context, n int) (string, error) {
	channel := newPlace()
	if err := r.provision(ctx, channel); err != nil {
		return "", err
	}
	return channel, fillChannel(ctx, r.url, channel, n)
}

// read is the loop that one writes: an ack for each hundred deliveries.
func (r *rabbitLab) read(_ context.Context, channel string, t *timeline) (func() error, error) {
	nc, err := amqp.Dial(r.url)
	if err != nil {
		return nil, err
	}
	ch, err := nc.Channel()
	if err == nil {
		err = ch.Qos(rabbitBatch, 0, false)
	}
	if err != nil {
		return nil, errors.Join(err, nc.Close())
	}
	deliveries, err := ch.Consume(queueOf(channel), "", false, false, false, false, nil)
	if err != nil {
		return nil, errors.Join(err, nc.Close())
	}
	ended := make(chan error, 1)
	go func() { ended <- ackEachHundred(deliveries, t) }()
	return func() error { return errors.Join(<-ended, nc.Close()) }, nil
}

func ackEachHundred(deliveries <-chan amqp.Delivery, t *timeline) error {
	for n := int64(1); n <= t.want; n++ {
		d, ok := <-deliveries
		if !ok {
			return fmt.Errorf("the consumer ended after %d of %d", n-1, t.want)
		}
		if n%100 == 0 || n == t.want {
			if err := d.Ack(true); err != nil {
				return err
			}
		}
		t.handled()
	}
	return nil
}
