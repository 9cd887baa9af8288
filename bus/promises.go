package bus

import (
	"fmt"

	"github.com/eventbus-go/eventbus/brokers"
)

// This file is where the bus holds what a subscription needs against what its brokers promise.

// checkPromises refuses a subscription that needs a promise which a broker that it reads does not make.
func checkPromises(l *link, s Subscription) error {
	for _, need := range []struct {
		wanted  bool
		name    string
		ok      func(brokers.Capabilities) bool
		without string // what else the user can do
	}{
		{s.Group != "", "consumer groups", func(c brokers.Capabilities) bool { return c.Groups },
			"leave Group empty, and every process sees every event"},
	} {
		if need.wanted && !need.ok(l.caps) {
			return fmt.Errorf("%w; or %s", &brokers.CapabilityError{
				Subscription: s.Name, Needs: need.name, Name: l.tag, Broker: l.scheme, Could: brokers.Promising(need.ok),
			}, need.without)
		}
	}
	return nil
}
