package memory_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/eventbus-go/eventbus/brokers"
)

// A sink keeps what it gets. Tests look at it after synctest.Wait.
type sink struct {
	mu    sync.Mutex // for deliveries that a timer sets off
	ready bool
	got   []brokers.Delivery
	gaps  []brokers.Gap
	done  bool
	err   error
	stop  context.CancelFunc
}

func (s *sink) Ready()            { s.ready = true }
func (s *sink) Gap(g brokers.Gap) { s.gaps = append(s.gaps, g) }

func (s *sink) Deliver(batch []brokers.Delivery) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got = append(s.got, batch...)
}

// subscribe starts a subscription that settles nothing by itself.
func subscribe(t *testing.T, c brokers.Conn, sub brokers.Subscription) *sink {
	t.Helper()
	if sub.Name == "" {
		sub.Name = "test"
	}
	ctx, cancel := context.WithCancel(t.Context())
	s := &sink{stop: cancel}
	go func() {
		s.err = c.Subscribe(ctx, sub, s)
		s.done = true
	}()
	synctest.Wait()
	if !s.ready {
		t.Fatalf("Subscribe returned %v", s.err)
	}
	return s
}

// bodies returns the bodies of what arrived, in order.
func (s *sink) bodies() []string {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for _, d := range s.got {
		out = append(out, string(d.Body))
	}
	return out
}

// settle gives the i-th delivery a verdict.
func (s *sink) settle(t *testing.T, i int, settlement brokers.Settlement) {
	t.Helper()
	s.mu.Lock()
	d := s.got[i]
	s.mu.Unlock()
	settlement.Token = d.Token
	if err := d.Settler.Settle(t.Context(), []brokers.Settlement{settlement}); err != nil {
		t.Errorf("Settle: %v", err)
	}
}

func (s *sink) ackAll(t *testing.T) {
	t.Helper()
	for i := range s.bodies() {
		s.settle(t, i, brokers.Settlement{})
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got = nil
}

func publish(t *testing.T, c brokers.Conn, channel string, bodies ...string) {
	t.Helper()
	if err := c.Publish(t.Context(), messages(channel, bodies...)); err != nil {
		t.Fatalf("Publish: %v", err)
	}
}

func messages(channel string, bodies ...string) []brokers.Message {
	var out []brokers.Message
	for _, b := range bodies {
		out = append(out, brokers.Message{Channel: channel, Key: "k", Body: []byte(b)})
	}
	return out
}

// marks returns "index outcome" of each message that failed.
func marks(err error) []string {
	var be *brokers.BatchError
	if !errors.As(err, &be) {
		return nil
	}
	var out []string
	for _, f := range be.Failed {
		out = append(out, fmt.Sprint(f.Index, " ", f.Outcome))
	}
	return out
}

func expect(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %q, wants %q", what, got, want)
	}
}

func closeAll(t *testing.T, conns ...brokers.Conn) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for _, c := range conns {
		_ = c.Close(ctx)
	}
	synctest.Wait()
}
