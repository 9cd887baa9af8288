package brokers

import (
	"context"
	"time"
)

// A Pinger is a Conn that can tell whether its broker answers. It is optional: a bus asserts it for its health check.
type Pinger interface {
	// Ping asks the broker for a reply and returns nil once it came. It returns within 100 ms of ctx's end, with the
	// reason why there is no reply, which never contains a password. It is safe for concurrent use.
	Ping(ctx context.Context) error
}

// A Lagger is a Conn that can tell how far a group is behind. It is optional: a bus asserts it for its lag.
type Lagger interface {
	// Lag returns the lag of group on each of channels that exists on the broker and that the group reads, in the order of
	// channels, which are names and not patterns. Where the broker keeps all that matches a pattern in one place, and cannot tell
	// its channels apart, the lag of that place follows once, under the pattern, whichever of its channels are asked for:
	// no message is counted twice. It returns within 100 ms of ctx's end. It is safe for concurrent use.
	Lag(ctx context.Context, group string, channels []string) ([]Lag, error)
}

// A Lag is what a group has yet to handle of one channel, or of what matches a pattern.
type Lag struct {
	// Channel is its name; or the pattern, or several with commas in between, that the broker keeps in one place.
	Channel string
	// Waiting is how many messages were not delivered to the group yet; -1 where the broker does not know.
	Waiting int64
	// Pending is how many were delivered and are not settled; -1 where the broker does not know.
	Pending int64
	// Oldest is when the oldest of them was published; zero where there is none or the broker does not know.
	Oldest time.Time
}

// A Provisioner is a Conn whose broker has something to be created before messages are kept: streams, topics, queues, groups.
// It is optional. A service whose account may not create anything opens its connection with ?create=false and leaves this to
// a separate step with another account.
type Provisioner interface {
	// Provision creates what is missing of p and leaves what exists as it is: a second call changes nothing. It returns an
	// error that names what could not be created and the right that is lacking, where the broker says so. From its
	// return on, a message published on one of the channels is kept for each of the groups that read it.
	Provision(ctx context.Context, p Provision) error
}

// A Provision is what has to exist on a broker.
type Provision struct {
	// Channels are names that messages are published to.
	Channels []string
	// Groups are those that read them.
	Groups []GroupProvision
}

// A GroupProvision is a group and what it reads.
type GroupProvision struct {
	Group string
	// Channels are patterns, as in Subscription.
	Channels []string
	// Start is where the group begins if it does not exist yet.
	Start Start
}

// A Warner is a Conn that may learn of a set-up which weakens its promises, such as a server that keeps on no disk
// what it confirms. It is optional: drivers do not log, so a bus asserts it, and logs each warning once, until
// it is over and comes again.
type Warner interface {
	// Warnings returns what is known and not over: sentences for an operator, each with its remedy, sorted; none is the
	// rule. It does no I/O and is safe for concurrent use.
	Warnings() []string
}

// An Unrouter is a Conn whose broker can say of a message that nobody wanted it: that no group and no subscription reads its
// channel. It is optional: a bus asserts it for its Stats.
type Unrouter interface {
	// Unroutable returns how many messages of this connection the broker has taken and kept for nobody so far. They are
	// among those that Publish confirmed, unless their channel was to have a reader. It does no I/O and is safe for
	// concurrent use.
	Unroutable() int64
}

// A Local is a Conn whose broker lives in the process and hands over the bodies as they were published. It is optional: a bus
// asserts it when it opens the connection, and then need not decode what it has encoded itself. Whoever wraps a Conn and changes
// bodies on their way is no Local.
type Local interface {
	// PassesReadings says that a delivery has the Reading of the very message that its Body was published with, or none. It is
	// only there to be asserted.
	PassesReadings()
}

// A Batcher is a Conn that says how large a batch is worth making for its broker. It is optional: a bus asserts it when it opens the
// connection, and assumes 1,024 messages and 1 MiB of a Conn that is none.
type Batcher interface {
	// Batch returns from when on a larger batch gains nothing. It is advice for the caller of Publish, which takes any batch.
	// It does no I/O, returns the same as long as the connection is open, and is safe for concurrent use.
	Batch() Batch
}

// A Batch is the size of one. A bus ends a batch before the message with which it would exceed either limit.
type Batch struct {
	// Messages is how many, at least 1.
	Messages int
	// Bytes is how many bytes their bodies have together, at least 1.
	Bytes int
}
