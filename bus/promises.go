package bus

import (
	"context"
	"fmt"

	"github.com/eventbus-go/eventbus/brokers"
)

// This file is where the bus asks what a connection can do: the promises that a subscription needs, and the optional
// operations that a driver may have.

// checkPromises refuses a subscription that needs a promise which its connection does not make.
func checkPromises(conn brokers.Conn, scheme string, s Subscription) error {
	has := conn.Capabilities()
	for _, need := range []struct {
		wanted  bool
		name    string
		ok      func(brokers.Capabilities) bool
		without string // what else the user can do
	}{
		{s.Group != "", "consumer groups", func(c brokers.Capabilities) bool { return c.Groups },
			"leave Group empty, and every process sees every event"},
	} {
		if need.wanted && !need.ok(has) {
			return fmt.Errorf("%w; or %s", &brokers.CapabilityError{
				Subscription: s.Name, Needs: need.name, Broker: scheme, Could: brokers.Promising(need.ok),
			}, need.without)
		}
	}
	return nil
}

// ping asks the broker for a sign of life, where its driver can.
func ping(ctx context.Context, conn brokers.Conn) error {
	if p, ok := conn.(brokers.Pinger); ok {
		return p.Ping(ctx)
	}
	return nil
}
