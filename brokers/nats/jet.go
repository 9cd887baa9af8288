package nats

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/internal/lifetime"
)

// jetPromises are those of JetStream. Members of a group pull from one consumer at the same time, and nothing keeps two
// messages of a key from going to two of them: there is no order to promise.
var jetPromises = brokers.Capabilities{
	Durable:  true,
	Groups:   true,
	Attempts: true,
	Delay:    true,
	Patterns: true,
	Replay:   true,
	Dedup:    true,
	MaxBytes: defaults(jetScheme).maxBytes,
}

// A jet is a brokers.Conn over JetStream.
type jet struct {
	base
	unsettled atomic.Int64
	tokens    chan struct{} // one for each chunk of messages that is sent and not confirmed

	mu      sync.Mutex
	streams map[string]bool // keys of streams that are there, as far as we know
}

var (
	_ brokers.Conn    = (*jet)(nil)
	_ brokers.Pinger  = (*jet)(nil)
	_ brokers.Batcher = (*jet)(nil)
)

func newJet(ctx context.Context, set settings) *jet {
	c := &jet{streams: make(map[string]bool), tokens: make(chan struct{}, windowChunks)}
	c.init(ctx, set, openAcks)
	return c
}

// Capabilities returns the promises of JetStream, with the MaxBytes of this connection.
func (c *jet) Capabilities() brokers.Capabilities {
	p := jetPromises
	p.MaxBytes = c.set.maxBytes
	return p
}

// Batch is half of the window: while the server confirms one lane's batch, that of the other one is on its way.
func (c *jet) Batch() brokers.Batch {
	return brokers.Batch{Messages: chunkSize * windowChunks / 2, Bytes: 4 << 20}
}

// Close stops fetching, waits until all deliveries are settled or ctx ends, and disconnects. What is not settled then is
// given back to the broker, if it can be reached within a moment.
func (c *jet) Close(ctx context.Context) error {
	var err error
	c.once.Do(func() { err = c.close(ctx) })
	return err
}

func (c *jet) close(ctx context.Context) error {
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

// known reports whether the stream with a key is there, as far as we know; setKnown changes it.
func (c *jet) known(key string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.streams[key]
}

func (c *jet) setKnown(key string, is bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !is {
		delete(c.streams, key)
		return
	}
	if len(c.streams) >= streamsKnown {
		clear(c.streams)
	}
	c.streams[key] = true
}

// streamsKnown bounds what is remembered of streams. A service has a few.
const streamsKnown = 1024
