package nats

import (
	"context"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/internal/lifetime"
)

// A core is a brokers.Conn over core NATS.
type core struct {
	base
	// free has publications that are not in use.
	free chan *publication
}

var (
	_ brokers.Conn   = (*core)(nil)
	_ brokers.Pinger = (*core)(nil)
)

// Capabilities returns the promises of core NATS, with the MaxBytes of this connection.
func (c *core) Capabilities() brokers.Capabilities {
	p := corePromises
	p.MaxBytes = c.set.maxBytes
	return p
}

// Close ends the subscriptions, waits for the calls that are under way until ctx ends, and disconnects.
func (c *core) Close(ctx context.Context) error {
	var err error
	c.once.Do(func() { err = c.close(ctx) })
	return err
}

func (c *core) close(ctx context.Context) error {
	calls := c.calls.Close()
	c.subs.End()
	late := lifetime.Await(ctx, calls)
	if late != nil {
		close(c.late)
	}
	if err := c.disconnect(ctx); late == nil {
		return err
	}
	return lifetime.Await(ctx, calls)
}
