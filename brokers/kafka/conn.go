package kafka

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/internal/lifetime"
)

func init() {
	brokers.Register(brokers.Driver{Scheme: "kafka", Promises: promises, Open: Open})
}

// promises are those of a topic with any number of partitions: a key is always in the same one, and a partition has one
// consumer in a group at a time.
var promises = brokers.Capabilities{
	Durable: true, Groups: true, Order: brokers.OrderKey, Patterns: true, Replay: true, MaxBytes: defaults().maxBytes,
}

// A conn is a brokers.Conn over Kafka.
type conn struct {
	set     settings
	sec     security
	seeds   net.Addr
	client  *kafkago.Transport
	cluster cluster
	sockets sockets
	turn    atomic.Uint32 // chooses partitions for messages without a key

	life    context.Context // ends when Close disconnects
	end     context.CancelFunc
	calls   lifetime.Gate
	closing chan struct{} // closed when Close begins: subscriptions stop fetching
	late    chan struct{} // closed once Close's deadline has passed
	once    sync.Once

	mu   sync.Mutex
	subs map[*subscription]struct{}
}

var (
	_ brokers.Conn    = (*conn)(nil)
	_ brokers.Pinger  = (*conn)(nil)
	_ brokers.Batcher = (*conn)(nil)
)

// Open opens a connection for a kafka URL: see the package comment. It does not wait for the broker. It reports what can
// never work, such as an unknown parameter or a certificate that is not there.
func Open(ctx context.Context, u *brokers.URL) (brokers.Conn, error) {
	set, hosts, sec, err := readURL(u)
	if err != nil {
		return nil, err
	}
	c := &conn{
		set: set, sec: sec, seeds: kafkago.TCP(hosts...), closing: make(chan struct{}), late: make(chan struct{}),
		subs: make(map[*subscription]struct{}),
	}
	c.life, c.end = context.WithCancel(context.WithoutCancel(ctx))
	c.turn.Store(rand.Uint32())
	c.cluster.init(c)
	c.sockets.sec = &c.sec
	c.client = &kafkago.Transport{
		Dial: c.sockets.secured, DialTimeout: set.dialTimeout, MetadataTTL: set.metadataTTL, ClientID: set.clientID,
		SASL: c.sec.sasl(), Context: c.life,
	}
	return c, nil
}

// do sends one request, with the limit of request_timeout.
func (c *conn) do(ctx context.Context, req protocol.Message) (protocol.Message, error) {
	ctx, cancel := context.WithTimeout(ctx, c.set.requestTimeout)
	defer cancel()
	defer context.AfterFunc(c.life, cancel)()
	return c.client.RoundTrip(ctx, c.seeds, req)
}

// ask is do for a response of type R.
func ask[R protocol.Message](ctx context.Context, c *conn, req protocol.Message) (R, error) {
	m, err := c.do(ctx, req)
	r, ok := m.(R)
	if err == nil && !ok {
		err = errors.New("the broker's response is not one to the request")
	}
	return r, err
}

// Capabilities returns the promises of Kafka, with the MaxBytes of this connection.
func (c *conn) Capabilities() brokers.Capabilities {
	p := promises
	p.MaxBytes = c.set.maxBytes
	return p
}

// Batch is more than most brokers want: a batch is divided among partitions, and a request costs a Kafka broker more than what is in it.
func (c *conn) Batch() brokers.Batch { return brokers.Batch{Messages: 4096, Bytes: 4 << 20} }

// Retryable reports whether err may go away by itself: lost connections and leaders that move do, wrong passwords and
// what the broker refuses do not.
func (c *conn) Retryable(err error) bool { return retryable(err) }

// Ping asks a broker which offset a list of no partitions has, which costs it nothing.
func (c *conn) Ping(ctx context.Context) error {
	if !c.calls.Enter() {
		return brokers.ErrClosed
	}
	defer c.calls.Leave()
	return c.cluster.ping(ctx)
}

// Close stops fetching, waits until every delivery is settled and committed or ctx ends, leaves the groups and
// disconnects.
func (c *conn) Close(ctx context.Context) error {
	var err error
	c.once.Do(func() { err = c.close(ctx) })
	return err
}

func (c *conn) close(ctx context.Context) error {
	calls := c.calls.Close()
	close(c.closing)
	unsettled := 0
	select {
	case <-calls:
	case <-ctx.Done():
		unsettled = c.unsettled()
	}
	close(c.late)
	await(calls, grace)
	c.end()
	c.client.CloseIdleConnections()
	c.sockets.end()
	switch {
	case unsettled > 0:
		return fmt.Errorf("%d deliveries were not settled: %w", unsettled, ctx.Err())
	case !isClosed(calls):
		return ctx.Err()
	}
	return nil
}

// grace is how long Close goes on after its context's end, so that members can commit and leave their groups: else the others wait
// for a session's end. The contract allows 100 ms.
const grace = 50 * time.Millisecond

// await waits until done is closed, but for d at most.
func await(done <-chan struct{}, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-done:
	case <-t.C:
	}
}

// unsettled counts the deliveries that nobody has settled.
func (c *conn) unsettled() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for s := range c.subs {
		n += s.unsettled()
	}
	return n
}

func isClosed(done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	default:
		return false
	}
}
