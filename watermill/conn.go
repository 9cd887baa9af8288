package watermill

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/internal/lifetime"
)

// A ConnConfig says what a [NewConn] is made of. Publisher, or Subscriber, or Subscribers, is required; a connection without
// the one cannot do the other.
type ConnConfig struct {
	// Publisher publishes. Close leaves it open.
	Publisher message.Publisher
	// Subscriber serves subscriptions without a group, each of which has to get every message: its configuration may not name
	// a group that they would share. Close leaves it open.
	Subscriber message.Subscriber
	// Subscribers makes the Subscriber of one subscription of a group; Watermill has the group in a Subscriber's configuration.
	// With the empty group it makes one for a subscription without, where Subscriber is nil. It is closed with the subscription,
	// and where that closes the client it was given, as watermill-redisstream's does, each needs one of its own.
	Subscribers func(ctx context.Context, group string) (message.Subscriber, error)
	// Parallel is how many times a Subscriber that Subscribers made subscribes to each topic. Most adapters have one message in
	// flight for each, which is then how many handlers of the bus have work; more than one needs subscriptions that share the
	// messages of a topic, and gives up any order. Default 1.
	Parallel int
	// Promises are what this Publisher and Subscriber keep, which only their user can know: Durable, Groups, Order, Dedup and
	// MaxBytes. The zero value promises nothing, which is what an unknown one keeps. Attempts, Delay, Patterns and Replay
	// cannot be kept through Watermill's interfaces and are refused.
	Promises brokers.Capabilities
	// Topic turns a channel into a topic; nil means that they are the same.
	Topic func(channel string) string
	// Outcome says what an error of the Publisher means for the messages that it was given. Nil means brokers.Unknown: they may
	// have arrived.
	Outcome func(error) brokers.Outcome
	// Retryable says whether an error of the Publisher or Subscriber may go away by itself. Nil means errors of the network and
	// of time limits. An error of Subscribe that is not retryable ends the bus's Run.
	Retryable func(error) bool
	// MaxStuck is how many calls of the Publisher may be under way, those that nobody waits for any more included. Default 64.
	MaxStuck int
}

// NewConn makes a connection of ours out of any Watermill Publisher and Subscriber, for [bus.New].
//
// A message's ID is the UUID, the body the payload; type, key, priority and time are metadata (MetadataType and so on), and
// headers are metadata under their own keys. What a foreign publisher sent arrives likewise: the bus counts what is no event
// and settles it.
//
// Publish runs the Publisher, which knows no context, on a goroutine of its own: where it has not returned when the context
// ends, the messages it was given are Unknown, and those after them NotSent. Settling is Ack and Nack. A redelivery's delay is
// this package's own: the Nack is held back, and with it, on most Watermill adapters, the topic. A subscription whose channel
// Watermill closes, as several adapters do where they meet an entry that is foreign to them, is subscribed to anew, and the
// interval is a Gap unless Durable is promised.
func NewConn(cfg ConnConfig) (brokers.Conn, error) {
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("watermill: connection: %w", err)
	}
	cfg.setDefaults()
	return &conn{cfg: cfg, slots: make(chan struct{}, cfg.MaxStuck), late: make(chan struct{})}, nil
}

func (c *ConnConfig) check() error {
	p := c.Promises
	switch {
	case c.Publisher == nil && c.Subscriber == nil && c.Subscribers == nil:
		return errors.New("there is neither a Publisher nor a Subscriber: set one of them")
	case p.Attempts || p.Delay || p.Patterns || p.Replay:
		return errors.New("the promises Attempts, Delay, Patterns and Replay cannot be kept through Watermill's interfaces: promise none of them")
	case p.Groups && c.Subscribers == nil:
		return errors.New("consumer groups are promised, and nothing makes the Subscriber of a group: set Subscribers")
	case p.Order > brokers.OrderNone && c.Parallel > 1:
		return errors.New("an Order is promised, which several subscriptions in parallel do not keep: set Parallel to 1")
	case p.MaxBytes < 0:
		return errors.New("a negative MaxBytes cannot be meant")
	}
	return nil
}

func (c *ConnConfig) setDefaults() {
	if c.Topic == nil {
		c.Topic = func(channel string) string { return channel }
	}
	if c.Outcome == nil {
		c.Outcome = func(error) brokers.Outcome { return brokers.Unknown }
	}
	if c.Retryable == nil {
		c.Retryable = ofNetwork
	}
	c.Parallel = max(c.Parallel, 1)
	if c.MaxStuck <= 0 {
		c.MaxStuck = 64
	}
}

// ofNetwork reports whether an error is one of connections and time limits, which may go away by itself.
func ofNetwork(err error) bool {
	var network net.Error
	return errors.As(err, &network) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

// A conn is a brokers.Conn over Watermill.
type conn struct {
	cfg   ConnConfig
	slots chan struct{} // has an element for each call of the Publisher that is under way

	calls     lifetime.Gate // the calls of Publish and Subscribe
	subs      lifetime.Lifetime
	unsettled atomic.Int64
	late      chan struct{} // closed once Close's deadline has passed
	once      sync.Once
}

var _ brokers.Conn = (*conn)(nil)

// Capabilities returns ConnConfig.Promises.
func (c *conn) Capabilities() brokers.Capabilities { return c.cfg.Promises }

// Retryable is ConnConfig.Retryable for everything that is not this package's own.
func (c *conn) Retryable(err error) bool {
	switch {
	case errors.Is(err, brokers.ErrClosed), errors.As(err, new(*brokers.CapabilityError)), errors.As(err, new(*brokers.HeaderError)),
		errors.Is(err, errNoPublisher), errors.Is(err, errNoSubscriber):
		return false
	case errors.Is(err, errStuck), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return true
	}
	return c.cfg.Retryable(err)
}

var (
	errNoPublisher  = errors.New("watermill: this connection was made without a Publisher")
	errNoSubscriber = errors.New("watermill: this connection was made without a Subscriber for it")
	errStuck        = errors.New("watermill: the Publisher has not returned from as many calls as may be under way")
)

// Close stops fetching, waits until every delivery is settled or ctx ends, and ends the subscriptions. What is unsettled then is
// nacked. Publisher and Subscriber stay open.
func (c *conn) Close(ctx context.Context) error {
	var err error
	c.once.Do(func() { err = c.close(ctx) })
	return err
}

func (c *conn) close(ctx context.Context) error {
	calls := c.calls.Close()
	c.subs.End()
	select {
	case <-calls:
		return nil
	case <-ctx.Done():
	}
	left := c.unsettled.Load()
	close(c.late)
	t := time.NewTimer(lastMoment)
	defer t.Stop()
	select {
	case <-calls:
	case <-t.C:
	}
	if left == 0 {
		return nil
	}
	return fmt.Errorf("%d deliveries were not settled: %w", left, ctx.Err())
}

// lastMoment is how long subscriptions have, once Close's deadline has passed, to end what ends at once.
const lastMoment = 50 * time.Millisecond
