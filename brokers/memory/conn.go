package memory

import (
	"context"
	"errors"
	"fmt"

	"github.com/eventbus-go/eventbus/brokers"
)

// Bounds of a queue where the URL or the options give none.
const (
	defaultQueue      = 16384
	defaultQueueBytes = 64 << 20
	defaultPrefetch   = 1024
)

var promises = brokers.Capabilities{
	Groups: true, Order: brokers.OrderKey, Attempts: true, Delay: true, Patterns: true,
}

func init() {
	brokers.Register(brokers.Driver{Scheme: "memory", Promises: promises, Open: open})
}

// An Option changes what New returns.
type Option func(*options)

type options struct {
	name  string
	bound bound
}

// A bound limits what a queue holds until it is settled.
type bound struct{ messages, bytes int }

// WithName shares the broker with all connections of that name, as memory://name does. Without it, or with "", it is
// private.
func WithName(name string) Option { return func(o *options) { o.name = name } }

// WithQueue bounds the queue of each group and subscription that this connection begins, in messages and in bytes of
// bodies and headers. A value below 1 leaves the default: 16384 messages, 64 MiB.
func WithQueue(messages, bytes int) Option {
	return func(o *options) {
		if messages > 0 {
			o.bound.messages = messages
		}
		if bytes > 0 {
			o.bound.bytes = bytes
		}
	}
}

// New returns a connection to a broker of its own, or with WithName to a shared one.
func New(opts ...Option) brokers.Conn {
	o := options{bound: bound{defaultQueue, defaultQueueBytes}}
	for _, opt := range opts {
		opt(&o)
	}
	return newConn(o)
}

func open(_ context.Context, u *brokers.URL) (brokers.Conn, error) {
	const most = 1<<31 - 1
	o := options{name: u.Host, bound: bound{
		messages: u.IntParam("queue", defaultQueue, 1, most),
		bytes:    u.IntParam("queue_bytes", defaultQueueBytes, 1, most),
	}}
	if err := u.ParamsErr(); err != nil {
		return nil, err
	}
	if u.User != "" || u.Password != "" || (u.Path != "" && u.Path != "/") {
		return nil, errors.New("memory:// takes a name and parameters only, such as memory://tests?queue=1000")
	}
	return newConn(o), nil
}

// A conn is one connection to a broker.
type conn struct {
	b     *broker
	bound bound

	// closing ends Publish and fetching, expired ends the wait for settling; quiet is closed when no subscription is
	// left after closing.
	closing, expired, quiet chan struct{}

	// Guarded by b.mu.
	closed  bool
	members []*member
}

func newConn(o options) *conn {
	return &conn{
		b: acquire(o.name), bound: o.bound,
		closing: make(chan struct{}), expired: make(chan struct{}), quiet: make(chan struct{}),
	}
}

// Capabilities returns the same for every connection.
func (c *conn) Capabilities() brokers.Capabilities { return promises }

// PassesReadings implements brokers.Local: an entry has all of its message.
func (c *conn) PassesReadings() {}

// Retryable reports whether err came from a queue that was full until the context ended.
func (c *conn) Retryable(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

// Close waits until every delivery is settled or ctx ends; what is unsettled then goes back to its group. Its error
// says how many those were.
func (c *conn) Close(ctx context.Context) error {
	if !c.beginClose() {
		return nil
	}
	select {
	case <-c.quiet:
	case <-ctx.Done():
	}
	close(c.expired)
	unsettled := c.abandon()
	release(c.b)
	if unsettled > 0 {
		return fmt.Errorf("%d deliveries were not settled: %w", unsettled, ctx.Err())
	}
	return nil
}

// beginClose stops publishing and fetching, and reports whether this is the first Close.
func (c *conn) beginClose() bool {
	c.b.mu.Lock()
	defer c.b.mu.Unlock()
	if c.closed {
		return false
	}
	c.closed = true
	close(c.closing)
	if len(c.members) == 0 {
		close(c.quiet)
	}
	return true
}

// abandon makes the subscriptions leave that still wait, and returns how many deliveries they had not settled.
func (c *conn) abandon() int {
	c.b.mu.Lock()
	defer c.b.mu.Unlock()
	n := 0
	for _, m := range c.members {
		n += m.open.n
		m.leave()
	}
	return n
}
