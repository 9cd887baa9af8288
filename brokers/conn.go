package brokers

import (
	"context"
	"time"
)

// A Conn is one connection to a broker. Its methods are safe for concurrent use.
type Conn interface {
	// Capabilities reports what this connection promises. It does not change while the connection is open, does no
	// I/O, and brokertest holds the driver to every word of it.
	Capabilities() Capabilities

	// Publish sends msgs as one pipelined batch, in order per Key, and returns nil once the broker has taken all of
	// them, or a *BatchError that marks each one it cannot vouch for as NotSent, Rejected or Unknown. A message that
	// it does not mark was taken.
	//
	// It returns within 100 ms of ctx's end even where the broker is frozen. The client may then still be reading
	// msgs, so a caller whose ctx has ended never reuses their memory. After nil, and after an error that came
	// before ctx's end, the driver keeps no reference to msgs or to their Bodies; their strings it may keep.
	//
	// It does not retry: the bus resends NotSent, and Unknown too where the broker is durable (same ID); elsewhere
	// Unknown is dropped and counted, since a thawed server may yet deliver it.
	Publish(ctx context.Context, msgs []Message) error

	// Subscribe feeds sink until ctx ends (stop fetching), then returns nil once every delivery is settled or
	// Close's deadline has passed. It calls sink from one goroutine at a time. One bad entry never ends a
	// subscription. A message is delivered once even where several of the subscription's patterns match its channel. A
	// lost connection is re-established, and each interval in which messages may have been missed is a Gap. It returns an error only where the subscription cannot be had at all, such as a promise the broker
	// does not make (a *CapabilityError).
	Subscribe(ctx context.Context, s Subscription, sink Sink) error

	// Retryable reports whether err, from Publish or Subscribe, may go away by itself.
	Retryable(err error) bool

	// Close settles what it can until ctx ends, then disconnects what Open connected; a client that the driver was
	// given stays open. It returns by ctx's end even where a handler never does, and then with an error that says how
	// many deliveries are unsettled. A second Close does nothing.
	// After Close, Publish marks every message NotSent with ErrClosed and Subscribe returns ErrClosed.
	Close(ctx context.Context) error
}

// A Sink receives what a subscription yields. A driver calls it from one goroutine at a time.
type Sink interface {
	// Ready says that the broker confirmed the subscription: what is published from now on arrives, or is a Gap. It is
	// called once, before the first Deliver.
	Ready()
	// Gap says that messages may have been missed.
	Gap(Gap)
	// Deliver hands over a batch, which the sink does not keep (but it keeps the Deliveries' contents). It may block: a
	// durable driver then stops fetching, any other one drops what it must and reports it as a Gap with a count.
	Deliver(batch []Delivery)
}

// A Subscription is what a driver is asked for.
type Subscription struct {
	// Name identifies the subscription in the broker's own tools, where it has a place for one.
	Name string
	// Channels are patterns as Pattern reads them, at least one.
	Channels []string
	// Group shares the messages among all subscriptions of one group; empty means every message of its own.
	Group string
	// Start says where a group that the broker does not know yet begins.
	Start Start
	// Prefetch is how many messages may be delivered and not yet settled; 0 means the driver's default.
	Prefetch int
	// MaxBytes is the largest body worth delivering, in bytes; a longer one is delivered as Malformed with
	// ReasonTooLarge and only its first bytes. 0 means no limit.
	MaxBytes int
}

// Start is where a new group begins to read.
type Start uint8

// A new group starts at the first retained message unless it asks to start now.
const (
	StartFirst Start = iota
	StartNow
)

// A Delivery is one attempt to hand over a message.
type Delivery struct {
	Message
	// Attempt counts from 1; 0 means that the broker does not know.
	Attempt int
	// Position is where the broker keeps it, for logs.
	Position string
	// Malformed is why this is not a message of ours; empty for one that looks right. Such a delivery has what is
	// known of it, and is settled like any other.
	Malformed Reason
	// Size is the body's full size in bytes where Body was cut short, else 0.
	Size int
	// Token names this delivery to Settler.
	Token Token
	// Settler settles it; nil where the broker wants no settling.
	Settler Settler
}

// Reason says in a word why a delivery is malformed. It is used as the value of a metric's label.
type Reason string

// What a driver itself may find wrong with an entry; what is wrong inside a body is found by the bus.
const (
	ReasonTooLarge Reason = "too_large" // the body is longer than Subscription.MaxBytes
	ReasonForeign  Reason = "foreign"   // the entry has no body where ours have one
)

// A Token names a delivery to the Settler that came with it. Its fields are the driver's own.
type Token struct {
	Ref any
	Seq uint64
}

// A Settler settles deliveries for the group they were delivered to, and for no other group.
//
// Where deliveries are leased, the driver prolongs the lease of each one that is not settled, for as long as its process lives:
// a handler that takes ten leases runs once. Giving up on one that never ends is the bus's business.
type Settler interface {
	// Settle settles many at once. It returns once the broker has taken all of them, or an error: then some may not
	// be settled and will be delivered again. A token that is settled already, or unknown, is such an error; it does
	// not keep the others from being settled.
	Settle(ctx context.Context, s []Settlement) error
}

// A Settlement is the end of one delivery.
type Settlement struct {
	Token   Token
	Verdict Verdict
	// After is the least delay before a redelivery.
	After time.Duration
}

// Verdict is what becomes of a delivery.
type Verdict uint8

// Ack is done with; Redeliver comes back after a delay; Terminate never comes back although it was not handled.
const (
	Ack Verdict = iota
	Redeliver
	Terminate
)

// A Gap is an interval in which messages may have been missed.
type Gap struct {
	Since, Until time.Time
	// Reason is one of the Gap constants, used as the value of a metric's label.
	Reason string
	// Missed is how many, or -1 where nobody can know.
	Missed int64
	// Err is what broke, if anything did; for logs.
	Err error
}

// Why messages may have been missed.
const (
	GapReconnect = "reconnect" // the connection was lost and came back
	GapOverflow  = "overflow"  // the sink was too slow and the driver's buffer was full
)

// A Message is an event on the wire: an event bound for several channels is several messages.
type Message struct {
	// Broker is the name of the broker that it is bound for, where a bus has several; see bus.Config. Drivers neither read
	// nor set it.
	Broker string
	// ID is the event's id, the same on every channel and every resend. It may be empty on delivery, where it is only in
	// the body.
	ID string
	// Type, Channel, Key and Priority as the event's; on delivery, Channel is always set, the others where the broker
	// carries them beside the body.
	Type     string
	Channel  string
	Key      string
	Priority int8
	// KeyInBody says that whoever decodes Body finds Key in it, as is so where the key is an event's subject or id. A broker
	// whose headers cost may then leave the key out beside the body. It means nothing on delivery.
	KeyInBody bool
	// Time is when the event happened.
	Time time.Time
	// NotBefore asks a broker that promises Delay not to deliver earlier; zero means at once.
	NotBefore time.Time
	// Headers are ordered pairs, at most MaxHeaders, with keys of at most MaxHeaderKey bytes; a key may repeat.
	Headers []Header
	// Body is the encoded envelope. Nobody modifies it.
	Body []byte
	// Reading is what the bus that has encoded Body knows of it, and nobody else's business; it may be nil. It never leaves
	// the process: only a [Local] delivers it.
	Reading any
}

// A Header is a pair of a token and a value without CR, LF and NUL.
type Header struct{ Key, Value string }
