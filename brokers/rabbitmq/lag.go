package rabbitmq

import (
	"context"
	"fmt"
	"slices"
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/eventbus-go/eventbus/brokers"
)

var _ brokers.Lagger = (*conn)(nil)

// Lag returns how many messages wait in the queues of group: in that of each channel, where the group reads it by its name, and
// in each queue of a pattern that this connection subscribed or provisioned, once, under the pattern: the server does not say on
// which channels they were published. How many are delivered and not settled, or wait for their redelivery, and since when,
// it does not say either. See brokers.Lagger.
func (c *conn) Lag(ctx context.Context, group string, channels []string) ([]brokers.Lag, error) {
	if !c.calls.Enter() {
		return nil, brokers.ErrClosed
	}
	defer c.calls.Leave()
	queues, err := c.queuesOf(group, channels)
	if err != nil {
		return nil, err
	}
	var out []brokers.Lag
	err = c.exec(ctx, func() error {
		s, err := c.sub.Now(ctx)
		if err != nil {
			return err
		}
		var lags []brokers.Lag
		for _, q := range queues {
			waiting, err := s.waiting(q.name)
			if notFound(err) {
				continue
			}
			if err != nil {
				return setup(fmt.Sprintf("queue %q", q.name), err)
			}
			lags = append(lags, brokers.Lag{Channel: q.holds, Waiting: waiting, Pending: -1})
		}
		out = lags
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// waiting returns how many messages of a queue are not delivered.
func (s *session) waiting(queue string) (n int64, err error) {
	err = s.do(func(ch *amqp.Channel) error {
		q, err := ch.QueueDeclarePassive(queue, true, false, false, false, nil)
		n = int64(q.Messages)
		return err
	})
	return n, err
}

// A lagQueue is a queue of a group, and what its messages were published on: a channel, or patterns.
type lagQueue struct{ name, holds string }

// queuesOf returns the queues that a group may have for channels, and then those of its patterns, each once.
func (c *conn) queuesOf(group string, channels []string) ([]lagQueue, error) {
	var out []lagQueue
	add := func(patterns []brokers.Pattern) {
		q := lagQueue{name: c.set.queueName(group, patterns), holds: joined(patterns)}
		if !slices.Contains(out, q) {
			out = append(out, q)
		}
	}
	for _, channel := range channels {
		p, err := brokers.ParsePattern(channel)
		if err != nil {
			return nil, badChannel{err}
		}
		add([]brokers.Pattern{p})
	}
	c.mu.Lock()
	var shared []place
	for _, known := range c.groups[group] {
		if len(known.patterns) > 1 || !known.patterns[0].Literal() {
			shared = append(shared, known)
		}
	}
	c.mu.Unlock()
	slices.SortFunc(shared, func(a, b place) int { return strings.Compare(a.name, b.name) })
	for _, known := range shared {
		add(known.patterns)
	}
	return out, nil
}
