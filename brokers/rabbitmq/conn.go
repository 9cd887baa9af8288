package rabbitmq

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/internal/lifetime"
	"github.com/eventbus-go/eventbus/internal/relink"
)

// The schemes of this package.
const (
	plainScheme  = "amqp"
	secureScheme = "amqps"
)

func init() {
	for _, scheme := range []string{plainScheme, secureScheme} {
		set := defaults(scheme)
		brokers.Register(brokers.Driver{Scheme: scheme, Promises: set.promises(), Open: Open})
	}
}

// promises are those of a connection with these settings. Consumers of one queue take its messages in turn, and nothing keeps
// two of one key from going to two of them, unless only one consumer is active. A classic queue says that a message came before,
// and not how often. Redelivery after a while needs queues to wait in, which have to be made when they are needed.
func (s *settings) promises() brokers.Capabilities {
	p := brokers.Capabilities{
		Durable: true, Groups: true, Patterns: true, MaxBytes: s.maxBytes,
		Attempts: s.queue == quorum, Delay: s.create,
	}
	if s.single {
		p.Order = brokers.OrderKey
	}
	return p
}

// A conn is a brokers.Conn over RabbitMQ.
type conn struct {
	set *settings
	pub *relink.Link[*session] // publishes; a server that takes no messages blocks it, and no acks
	sub *relink.Link[*session] // consumes

	unroutable atomic.Int64
	unsettled  atomic.Int64

	calls lifetime.Gate     // the calls of Publish, Ping and Subscribe
	execs lifetime.Gate     // the goroutines that talk to the server for them, which may outlive them
	subs  lifetime.Lifetime // ends subscriptions
	late  chan struct{}     // closed once Close's deadline has passed
	life  context.Context   // has the values of Open's context and does not end
	once  sync.Once

	mu     sync.Mutex
	groups map[string]map[string]place // of each group the queues that this connection knows of
}

var (
	_ brokers.Conn   = (*conn)(nil)
	_ brokers.Pinger = (*conn)(nil)
)

// Open opens a connection for an amqp or amqps URL: see the package comment. It does not wait for the server. It reports
// what can never work, such as an unknown parameter or a certificate that is not there.
func Open(ctx context.Context, u *brokers.URL) (brokers.Conn, error) {
	set, err := readURL(u)
	if err != nil {
		return nil, err
	}
	c := &conn{
		set: &set, late: make(chan struct{}), life: context.WithoutCancel(ctx), groups: make(map[string]map[string]place),
	}
	c.pub = relink.New(ctx, brokers.ErrClosed, c.openPublisher)
	c.sub = relink.New(ctx, brokers.ErrClosed, func(ctx context.Context) (*session, error) { return newSession(ctx, set) })
	return c, nil
}

// openPublisher opens a session with a channel to publish on.
func (c *conn) openPublisher(ctx context.Context) (*session, error) {
	s, err := newSession(ctx, *c.set)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, s.wire.abort)
	defer stop()
	if s.pipe, err = openPipe(s, c.set, &c.unroutable); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// Capabilities returns what a connection with these settings promises.
func (c *conn) Capabilities() brokers.Capabilities { return c.set.promises() }

// Retryable reports whether err may go away by itself: lost connections do, wrong passwords and queues with other settings do
// not.
func (c *conn) Retryable(err error) bool { return retryable(err) }

// Unroutable returns how many messages of this connection no queue wanted: see brokers.Unrouter.
func (c *conn) Unroutable() int64 { return c.unroutable.Load() }

// Ping asks the server to open a channel on the connection that publishes. A server that takes no messages does not answer
// well.
func (c *conn) Ping(ctx context.Context) error {
	if !c.calls.Enter() {
		return brokers.ErrClosed
	}
	defer c.calls.Leave()
	return c.exec(ctx, func() error {
		s, err := c.pub.Now(ctx)
		if err != nil {
			return err
		}
		if err := s.do(func(*amqp.Channel) error { return nil }); err != nil {
			return err
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.blocked
	})
}

// exec calls f, which talks to the server and which nothing interrupts, and returns its error, or ctx's where that ends
// first.
func (c *conn) exec(ctx context.Context, f func() error) error {
	if !c.execs.Enter() {
		return brokers.ErrClosed
	}
	done := make(chan error, 1)
	go func() {
		defer c.execs.Leave()
		done <- brokers.Contain(f)
	}()
	return lifetime.Outcome(ctx, done)
}

// Close stops fetching, waits until all deliveries are settled or ctx ends, and disconnects: what is not settled then is given
// back by the server.
func (c *conn) Close(ctx context.Context) error {
	var err error
	c.once.Do(func() { err = c.close(ctx) })
	return err
}

func (c *conn) close(ctx context.Context) error {
	calls := c.calls.Close()
	c.subs.End()
	late := lifetime.Await(ctx, calls)
	left := c.unsettled.Load()
	if late != nil {
		close(c.late)
		t := time.NewTimer(grace)
		select {
		case <-calls:
		case <-t.C:
		}
		t.Stop()
	}
	err := c.disconnect(ctx)
	switch {
	case late == nil:
		return err
	case left > 0:
		return fmt.Errorf("%d deliveries are not settled: %w", left, late)
	default:
		return lifetime.Await(ctx, calls)
	}
}

// disconnect ends the sessions, and with them what the goroutines of calls that gave up are waiting for.
func (c *conn) disconnect(ctx context.Context) error {
	execs := c.execs.Close()
	pub, sub := c.pub.Close(), c.sub.Close()
	for _, done := range []<-chan struct{}{pub, sub, execs} {
		if err := lifetime.Await(ctx, done); err != nil {
			return err
		}
	}
	return nil
}
