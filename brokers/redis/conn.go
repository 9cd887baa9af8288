package redis

import (
	"context"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/internal/lifetime"
)

func init() {
	for _, scheme := range []string{"redis", "rediss"} {
		brokers.Register(brokers.Driver{Scheme: scheme, Promises: promises, Open: Open})
	}
}

// promises are those of Pub/Sub. Messages of one Publish leave on one connection, one after the other, and reach a
// subscription on one connection: a key keeps its order as long as one Publish at a time has it.
var promises = brokers.Capabilities{
	Order:    brokers.OrderKey,
	Patterns: true,
	MaxBytes: defaults().maxBytes,
}

// A conn is a brokers.Conn over Redis Pub/Sub.
type conn struct {
	set    settings
	pub    *goredis.Client // publishes
	sub    *goredis.Client // subscribes; its dialer is conn.dialer
	scheme string

	// ownLine makes a client of one connection that can be interrupted, for commands that block so long; nil where
	// the client was given to us.
	ownLine func(block time.Duration) (*line, *goredis.Client)

	ownsMu sync.Mutex
	owns   map[*goredis.Client]struct{} // to be closed by Close

	calls lifetime.Gate     // the calls of Publish, Ping and Subscribe
	execs lifetime.Gate     // the goroutines that talk to the server for them, which may outlive them
	subs  lifetime.Lifetime // ends subscriptions
	dials lifetime.Lifetime // ends dials
	late  chan struct{}     // closed once Close's deadline has passed
	once  sync.Once

	command func(*publication) *command  // makes what carries a message
	before  func(*publication)           // see publication
	carries func(*brokers.Message) error // why a message cannot be carried; nil where any can
	plain   bool                         // messages are PUBLISH, and nothing else

	free freeList // of publications
}

var (
	_ brokers.Conn   = (*conn)(nil)
	_ brokers.Pinger = (*conn)(nil)
)

// Open opens a connection for a redis or rediss URL: see the package comment. It does not wait for the server. It
// reports what can never work, such as an unknown parameter or a certificate that is not there.
func Open(_ context.Context, u *brokers.URL) (brokers.Conn, error) {
	set, opt, err := readURL(u)
	if err != nil {
		return nil, err
	}
	c := newConn(set, u.Scheme)
	c.plain = true
	c.connect(opt, greet)
	return c, nil
}

// connect makes the clients of a connection that was opened by URL.
func (c *conn) connect(opt *goredis.Options, greet func(context.Context, *goredis.Conn) error) {
	dial := c.set.netDialer(opt)
	opt.Dialer = c.dialer(dial)
	opt.OnConnect = greet
	c.pub = c.own(opt)
	c.sub = c.pub
	c.ownLine = func(block time.Duration) (*line, *goredis.Client) {
		l, o := newLine(), *opt
		o.PoolSize = 1
		o.ReadTimeout += block
		o.Dialer = l.dialer(c.dialer(dial))
		return l, c.own(&o)
	}
}

// New returns a Conn that publishes through client and subscribes on connections of its own that it opens as client
// would: address, credentials, TLS and dialer are those of client's options. Close leaves client open. Whatever
// client's MaxRetries, nothing is sent twice.
func New(client *goredis.Client, opts ...Option) brokers.Conn {
	set := defaults()
	for _, o := range opts {
		o(&set)
	}
	from := client.Options()
	set.clientName = from.ClientName
	c := newConn(set, "redis")
	opt := set.client()
	opt.Network, opt.Addr, opt.TLSConfig, opt.DB = from.Network, from.Addr, from.TLSConfig, from.DB
	opt.Username, opt.Password, opt.CredentialsProvider = from.Username, from.Password, from.CredentialsProvider
	opt.CredentialsProviderContext = from.CredentialsProviderContext
	opt.StreamingCredentialsProvider = from.StreamingCredentialsProvider
	opt.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	opt.Dialer = c.dialer(from.Dialer)
	opt.OnConnect = greetAfter(from.OnConnect)
	c.pub = client
	c.sub = c.own(opt)
	return c
}

// own makes a client that Close closes.
func (c *conn) own(opt *goredis.Options) *goredis.Client {
	client := goredis.NewClient(opt)
	c.ownsMu.Lock()
	defer c.ownsMu.Unlock()
	c.owns[client] = struct{}{}
	return client
}

// disown closes a client that is needed no more.
func (c *conn) disown(client *goredis.Client) {
	c.ownsMu.Lock()
	delete(c.owns, client)
	c.ownsMu.Unlock()
	_ = client.Close()
}

func newConn(set settings, scheme string) *conn {
	return &conn{
		set: set, scheme: scheme, command: newPublish, late: make(chan struct{}),
		owns: make(map[*goredis.Client]struct{}),
	}
}

// Capabilities returns the promises of Pub/Sub, with the MaxBytes of this connection.
func (c *conn) Capabilities() brokers.Capabilities {
	p := promises
	p.MaxBytes = c.set.maxBytes
	return p
}

// Retryable reports whether err may go away by itself: lost connections and a server that is loading do, wrong
// passwords and commands that the server refuses do not.
func (c *conn) Retryable(err error) bool { return retryable(err) }

// Ping asks the server for a reply over a connection of the pool. One that cannot write its disk denies a PING, and carries
// messages all the same.
func (c *conn) Ping(ctx context.Context) error {
	err := c.ping(ctx)
	if goredis.HasErrorPrefix(err, "MISCONF") {
		return nil
	}
	return err
}

func (c *conn) ping(ctx context.Context) error {
	return c.call(ctx, func(ctx context.Context) error { return c.pub.Ping(ctx).Err() })
}

// call runs f off the caller's goroutine: nothing interrupts the client.
func (c *conn) call(ctx context.Context, f func(context.Context) error) error {
	if !c.calls.Enter() {
		return brokers.ErrClosed
	}
	defer c.calls.Leave()
	if !c.execs.Enter() {
		return brokers.ErrClosed
	}
	done := make(chan error, 1)
	go func() {
		defer c.execs.Leave()
		done <- brokers.Contain(func() error { return f(ctx) })
	}()
	return lifetime.Outcome(ctx, done)
}

// Close ends the subscriptions, waits for the calls that are under way until ctx ends, and disconnects.
func (c *conn) Close(ctx context.Context) error {
	var err error
	c.once.Do(func() { err = c.close(ctx) })
	return err
}

func (c *conn) close(ctx context.Context) error {
	calls := c.calls.Close()
	c.subs.End()
	if lifetime.Await(ctx, calls) != nil {
		close(c.late)
	}
	execs := c.disconnect()
	if err := lifetime.Await(ctx, calls); err != nil {
		return err
	}
	return lifetime.Await(ctx, execs)
}

// disconnect closes what Open connected. It returns a channel that is closed once no exec is left. Nobody waits for
// one that is left now: its call gave up. Disconnecting ends it at once, unless it is on a client that is not ours,
// where it ends with that client's timeouts.
func (c *conn) disconnect() <-chan struct{} {
	execs := c.execs.Close()
	c.ownsMu.Lock()
	for client := range c.owns {
		_ = client.Close() // it reports what the server's closing did to the sockets
	}
	c.ownsMu.Unlock()
	c.dials.End()
	c.free.unwatch()
	return execs
}
