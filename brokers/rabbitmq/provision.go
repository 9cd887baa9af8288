package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"slices"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/internal/relink"
)

var (
	_ brokers.Provisioner = (*conn)(nil)
	_ brokers.Lagger      = (*conn)(nil)
	_ brokers.Unrouter    = (*conn)(nil)
)

// Provision makes the exchange and the queues of the groups, and binds them: see brokers.Provisioner. Channels by themselves
// need nothing. Without leave to create it only looks whether the queues are there. The queues that a redelivery waits in are
// made when they are needed.
func (c *conn) Provision(ctx context.Context, p brokers.Provision) error {
	for _, channel := range p.Channels {
		if err := checkChannel(channel); err != nil {
			return err
		}
	}
	var places []place
	for _, g := range p.Groups {
		patterns, err := readPatterns(g.Group, g.Channels)
		if err != nil {
			return err
		}
		if g.Group == "" {
			return errors.New("a group to be provisioned has no name")
		}
		places = append(places, c.set.places(g.Group, patterns)...)
	}
	if !c.calls.Enter() {
		return brokers.ErrClosed
	}
	defer c.calls.Leave()
	made := false
	err := c.exec(ctx, func() error {
		s, err := c.sub.Now(ctx)
		if err == nil {
			made, err = c.set.provision(ctx, s, places)
		}
		return err
	})
	if err != nil {
		return err
	}
	c.remember(places)
	if made && c.set.queue == quorum && !relink.Sleep(ctx, c.set.settle) {
		return ctx.Err()
	}
	return nil
}

// provision makes places and reports whether any of them was not there.
func (s *settings) provision(ctx context.Context, over *session, places []place) (made bool, err error) {
	if err := over.do(s.declareExchange); err != nil {
		return false, err
	}
	for _, p := range places {
		if err := ctx.Err(); err != nil {
			return made, err
		}
		missing := false
		if s.create {
			if missing, err = isMissing(over, p.name); err != nil {
				return made, err
			}
		}
		if err := over.do(func(ch *amqp.Channel) error { return s.declare(ch, p) }); err != nil {
			return made, err
		}
		made = made || missing
	}
	return made, nil
}

// Lag returns how many messages wait in the queues of group that get those of a channel: the queue of the channel's own name,
// and those of wildcards that this connection subscribed or provisioned, of which it is the whole. How many are delivered
// and not settled, and since when, the server does not say. See brokers.Lagger.
func (c *conn) Lag(ctx context.Context, group string, channels []string) ([]brokers.Lag, error) {
	if !c.calls.Enter() {
		return nil, brokers.ErrClosed
	}
	defer c.calls.Leave()
	var out []brokers.Lag
	err := c.exec(ctx, func() error {
		s, err := c.sub.Now(ctx)
		if err != nil {
			return err
		}
		for _, channel := range channels {
			lag, found, err := c.lagOf(s, group, channel)
			if err != nil {
				return err
			}
			if found {
				out = append(out, lag)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func (c *conn) lagOf(s *session, group, channel string) (lag brokers.Lag, found bool, err error) {
	names, err := c.queuesOf(group, channel)
	if err != nil {
		return lag, false, err
	}
	lag = brokers.Lag{Channel: channel, Pending: -1}
	for _, name := range names {
		err := s.do(func(ch *amqp.Channel) error {
			q, err := ch.QueueDeclarePassive(name, true, false, false, false, nil)
			lag.Waiting += int64(q.Messages)
			return err
		})
		if notFound(err) {
			continue
		}
		if err != nil {
			return lag, false, setup(fmt.Sprintf("queue %q", name), err)
		}
		found = true
	}
	return lag, found, nil
}

// queuesOf returns the queues of a group that a channel's messages may be in.
func (c *conn) queuesOf(group, channel string) ([]string, error) {
	p, err := brokers.ParsePattern(channel)
	if err != nil {
		return nil, badChannel{err}
	}
	names := []string{c.set.queueName(group, []brokers.Pattern{p})}
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, known := range c.groups[group] {
		if !slices.Contains(names, name) && matchesAny(known.patterns, channel) {
			names = append(names, name)
		}
	}
	return names, nil
}
