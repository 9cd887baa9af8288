package bus_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/brokers/memory"
	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/router"
	"github.com/eventbus-go/eventbus/schema"
)

// A mood is how a broker treats its clients.
type mood int

const (
	well   mood = iota
	down        // nothing can be sent
	frozen      // what is sent gets no reply
	picky       // everything is refused for good
)

// A moody broker is one in memory that fails when it is told to, and writes down what it took and what it was sent.
type moody struct {
	brokers.Conn
	durable bool

	mu    sync.Mutex
	mood  mood
	sizes []int    // of the calls
	took  []string // id@channel
}

func newMoody(durable bool) *moody { return &moody{Conn: memory.New(), durable: durable} }

func (m *moody) feel(how mood) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mood = how
}

func (m *moody) feels() mood {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mood
}

func (m *moody) taken() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.took)
}

func (m *moody) Capabilities() brokers.Capabilities {
	c := m.Conn.Capabilities()
	c.Durable = m.durable
	return c
}

func (m *moody) Retryable(error) bool { return true }

var errMoody = errors.New("no connection")

func (m *moody) Publish(ctx context.Context, msgs []brokers.Message) error {
	m.mu.Lock()
	m.sizes = append(m.sizes, len(msgs))
	m.mu.Unlock()
	switch m.feels() {
	case down:
		return brokers.FailAll(len(msgs), brokers.NotSent, errMoody)
	case frozen:
		<-ctx.Done()
		return brokers.FailAll(len(msgs), brokers.Unknown, ctx.Err())
	case picky:
		return brokers.FailAll(len(msgs), brokers.Rejected, errMoody)
	}
	m.mu.Lock()
	for _, msg := range msgs {
		m.took = append(m.took, msg.ID+"@"+msg.Channel)
	}
	m.mu.Unlock()
	return m.Conn.Publish(ctx, msgs)
}

func (m *moody) Ping(ctx context.Context) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	switch m.feels() {
	case down:
		return errMoody
	case frozen:
		<-ctx.Done()
		return ctx.Err()
	}
	return nil
}

// A blind one cannot be pinged.
type blind struct{ brokers.Conn }

// Rules of two brokers: a.* goes to main, b.* to audit, c.* to both on one channel, d.* to audit or else to main.
func twoBrokers() router.Config {
	return router.Config{Rules: []router.Rule{
		{Match: []string{"a.*"}, Channels: []string{"x.a"}},
		{Match: []string{"b.*"}, Channels: []string{"x.b"}, Broker: "audit"},
		{Match: []string{"c.*"}, Channels: []string{"x.c"}},
		{Match: []string{"c.*"}, Channels: []string{"x.c"}, Broker: "audit"},
		{Match: []string{"d.*"}, Channels: []string{"x.d"}, Broker: "audit", Fallback: "main"},
	}}
}

// newPair makes a bus on two brokers, main and audit.
func newPair(t *testing.T, main, audit brokers.Conn, cfg bus.Config, opts ...bus.Option) *world {
	t.Helper()
	w := &world{t: t, log: &strings.Builder{}}
	log := slog.New(slog.NewTextHandler(&lockedWriter{w: w.log}, nil))
	cfg.Config = twoBrokers()
	b, err := bus.New(t.Context(), main, cfg, append(opts, bus.WithBroker("audit", audit), bus.WithLogger(log))...)
	if err != nil {
		t.Fatal(err)
	}
	w.Bus = b
	t.Cleanup(func() { b.Close(ended()) })
	return w
}

func (w *world) publish(events ...schema.Event) error {
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	return w.Publish(ctx, events...)
}

func ids(prefix string, n int) (events []schema.Event) {
	for i := range n {
		events = append(events, schema.Event{ID: fmt.Sprint(i), Type: prefix, Subject: "k"})
	}
	return events
}
