package redis

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/internal/lifetime"
)

func init() {
	for _, scheme := range []string{"redis+stream", "rediss+stream"} {
		brokers.Register(brokers.Driver{Scheme: scheme, Promises: streamPromises, Open: openStream})
	}
}

// streamPromises are those of Streams. Members of a group read from one stream at the same time, and nothing keeps
// two messages of a key from going to two of them: there is no order to promise.
var streamPromises = brokers.Capabilities{
	Durable:  true,
	Groups:   true,
	Attempts: true,
	Delay:    true,
	Patterns: true,
	Replay:   true,
	MaxBytes: defaults().maxBytes,
}

// A stream is a brokers.Conn over Redis Streams. What publishes and connects is that of Pub/Sub.
type stream struct {
	*conn
	unsettled atomic.Int64
	warnings  warnings
	keeper    keeper

	mu        sync.Mutex
	announced announced
	pinned    map[string]bool // by channel and group: those that kept old messages when they were last looked at
}

var (
	_ brokers.Conn        = (*stream)(nil)
	_ brokers.Pinger      = (*stream)(nil)
	_ brokers.Lagger      = (*stream)(nil)
	_ brokers.Provisioner = (*stream)(nil)
	_ brokers.Warner      = (*stream)(nil)
)

func openStream(ctx context.Context, u *brokers.URL) (brokers.Conn, error) {
	set, opt, err := readURL(u)
	if err != nil {
		return nil, err
	}
	c := &stream{conn: newConn(set, u.Scheme), pinned: make(map[string]bool)}
	c.announced = announced{at: make(map[string]time.Time), owed: make(map[string]bool)}
	c.command = c.newAdd
	c.before = c.announce
	if f := set.stream.format; f != nil {
		c.carries = func(m *brokers.Message) error {
			_, err := f.Fields(m)
			return err
		}
	}
	c.connect(opt, c.greet)
	c.keeper.start(context.WithoutCancel(ctx), c)
	return c, nil
}

// Capabilities returns the promises of Streams, with the MaxBytes of this connection.
func (c *stream) Capabilities() brokers.Capabilities {
	p := streamPromises
	p.MaxBytes = c.set.maxBytes
	return p
}

// Ping asks the server for a reply over a connection of the pool. A server that cannot write its disk denies a PING, as it denies
// all that is written to streams and read by groups.
func (c *stream) Ping(ctx context.Context) error { return c.ping(ctx) }

// Close stops fetching, waits until all deliveries are settled or ctx ends, and disconnects. What is not settled then
// is given back to the group, if the server can be reached within a moment.
func (c *stream) Close(ctx context.Context) error {
	var err error
	c.once.Do(func() { err = c.close(ctx) })
	return err
}

func (c *stream) close(ctx context.Context) error {
	c.keeper.cancel()
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
	execs := c.disconnect()
	switch {
	case late == nil:
		if err := lifetime.Await(ctx, execs); err != nil {
			return err
		}
		return lifetime.Await(ctx, c.keeper.done) // which may have waited for the server until the disconnection
	case left > 0:
		return fmt.Errorf("%d deliveries are not settled: %w", left, late)
	default:
		return lifetime.Await(ctx, calls)
	}
}
