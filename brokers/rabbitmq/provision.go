package rabbitmq

import (
	"context"
	"errors"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/internal/relink"
)

var (
	_ brokers.Provisioner = (*conn)(nil)
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
