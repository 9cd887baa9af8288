package brokers

import (
	"fmt"
	"strings"
)

// Capabilities are promises. The bus refuses at start-up what a connection cannot keep, and says which broker could.
type Capabilities struct {
	// Durable: a message published while no subscriber of a provisioned group runs is delivered later, and one that
	// was not settled is delivered again.
	Durable bool
	// Groups: subscriptions of one group share the messages.
	Groups bool
	// Order is the strongest order kept, with several consumers in a group.
	Order Order
	// Attempts: Delivery.Attempt survives a restart of the consumer.
	Attempts bool
	// Delay: redelivery after a given time is the broker's own.
	Delay bool
	// Patterns: wildcard channels are matched by the broker.
	Patterns bool
	// Replay: a subscription may start in the past.
	Replay bool
	// Dedup: the broker drops a second publish of one (ID, Channel).
	Dedup bool
	// MaxBytes is the largest body it takes; 0 means no limit that is known.
	MaxBytes int
}

// Order is the order in which one subscription's messages are delivered.
type Order uint8

// No order at all; per key; per channel, which includes per key.
const (
	OrderNone Order = iota
	OrderKey
	OrderChannel
)

// String returns "none", "key" or "channel".
func (o Order) String() string {
	switch o {
	case OrderKey:
		return "key"
	case OrderChannel:
		return "channel"
	default:
		return "none"
	}
}

// A CapabilityError refuses a subscription that needs a promise its broker does not make.
type CapabilityError struct {
	Subscription string   // its name
	Needs        string   // the promise, such as "consumer groups"
	Name         string   // of the broker, where the bus has several
	Broker       string   // the scheme that does not make it, such as "redis"
	Could        []string // the schemes that do
}

// Error names the subscription, the promise and the brokers that make it.
func (e *CapabilityError) Error() string {
	could := "no broker of this program could"
	if len(e.Could) > 0 {
		could = strings.Join(e.Could, "://, ") + ":// could"
	}
	broker := e.Broker + "://"
	if e.Name != "" {
		broker = fmt.Sprintf("its broker %s (%s)", e.Name, broker)
	}
	return fmt.Sprintf("subscription %q needs %s; %s promises none (%s)", e.Subscription, e.Needs, broker, could)
}
