package nats

import (
	"context"
	"sync"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/internal/lifetime"
	"github.com/eventbus-go/eventbus/internal/relink"
)

// The schemes of this package.
const (
	coreScheme = "nats"
	jetScheme  = "nats+js"
)

func init() {
	brokers.Register(brokers.Driver{Scheme: coreScheme, Promises: corePromises, Open: Open})
	brokers.Register(brokers.Driver{Scheme: jetScheme, Promises: jetPromises, Open: Open})
}

// corePromises are those of core NATS. Messages of one Publish leave on one connection, one after the other, and reach a
// subscription on one connection: a key keeps its order as long as one Publish at a time has it. Its queue groups would
// share messages, but drop what is published while no member runs, and what a member that ends had in its hands: that is
// not what a group promises.
var corePromises = brokers.Capabilities{
	Order:    brokers.OrderKey,
	Patterns: true,
	MaxBytes: defaults(coreScheme).maxBytes,
}

// A base is what the connections of both drivers have in common.
type base struct {
	set settings
	// pub publishes, sub subscribes: a server that does not take what is published slows no subscription.
	pub, sub *relink.Link[*session]

	calls lifetime.Gate     // the calls of Publish, Ping and Subscribe
	execs lifetime.Gate     // the goroutines that talk to the server for them, which may outlive them
	subs  lifetime.Lifetime // ends subscriptions
	late  chan struct{}     // closed once Close's deadline has passed
	once  sync.Once
}

// init makes the links. opened is called with each new session that publishes, before anybody else gets it.
func (c *base) init(ctx context.Context, set settings, opened func(*session) error) {
	c.set, c.late = set, make(chan struct{})
	c.sub = relink.New(ctx, brokers.ErrClosed, func(ctx context.Context) (*session, error) { return newSession(ctx, set) })
	c.pub = relink.New(ctx, brokers.ErrClosed, func(ctx context.Context) (*session, error) {
		s, err := newSession(ctx, set)
		if err != nil || opened == nil {
			return s, err
		}
		if err := opened(s); err != nil {
			s.Close()
			return nil, err
		}
		return s, nil
	})
}

// Open opens a connection for a nats or nats+js URL: see the package comment. It does not wait for the server. It reports
// what can never work, such as an unknown parameter or a certificate that is not there.
func Open(ctx context.Context, u *brokers.URL) (brokers.Conn, error) {
	set, err := readURL(u)
	if err != nil {
		return nil, err
	}
	if set.scheme == jetScheme {
		return newJet(ctx, set), nil
	}
	c := &core{free: make(chan *publication, freePublications)}
	c.init(ctx, set, nil)
	return c, nil
}

// Retryable reports whether err may go away by itself: lost connections do, wrong passwords and what the client refuses
// to send do not.
func (c *base) Retryable(err error) bool { return retryable(err) }

// Ping asks the server for a reply over the connection that publishes.
func (c *base) Ping(ctx context.Context) error {
	if !c.calls.Enter() {
		return brokers.ErrClosed
	}
	defer c.calls.Leave()
	if !c.execs.Enter() {
		return brokers.ErrClosed
	}
	done := make(chan error, 1)
	go func() { // the client waits for a write that is under way, whatever the context says
		defer c.execs.Leave()
		done <- brokers.Contain(func() error {
			s, err := c.pub.Now(ctx)
			if err == nil {
				err = s.flush(ctx)
			}
			return err
		})
	}()
	return lifetime.Outcome(ctx, done)
}

// disconnect ends the sessions, and with them what the goroutines of calls that gave up are waiting for.
func (c *base) disconnect(ctx context.Context) error {
	execs := c.execs.Close()
	pub, sub := c.pub.Close(), c.sub.Close()
	for _, done := range []<-chan struct{}{pub, sub, execs} {
		if err := lifetime.Await(ctx, done); err != nil {
			return err
		}
	}
	return nil
}
