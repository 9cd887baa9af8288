package bus_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/brokers/memory"
	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/schema"
)

func TestLagAndEnsureChannelsAskEveryBroker(t *testing.T) {
	main, audit := memory.New(), memory.New()
	w := newPair(t, main, audit, bus.Config{})
	w.subscribe(bus.Subscription{
		Name: "s", Channels: []string{"x.c", "x.d", "x.b"}, Group: "g", Handler: func(context.Context, schema.Event) error { return nil },
	})
	if err := w.EnsureChannels(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := w.publish(ids("c.x", 3)...); err != nil {
		t.Fatal(err)
	}
	if err := w.publish(ids("d.x", 2)...); err != nil {
		t.Fatal(err)
	}
	lags, err := w.Lag(t.Context())
	var got []string
	for _, l := range lags {
		got = append(got, fmt.Sprint(l.Broker, " ", l.Group, " ", l.Channel, " ", l.Waiting))
	}
	want := []string{"main g x.c 3", "main g x.d 0", "audit g x.b 0", "audit g x.c 3", "audit g x.d 2"}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q, %v", got, err)
	}
	w.run()
	w.until("the group has caught up", func() bool { return w.Stats().Subscriptions["s"].Received == 8 })
}

// A pooling broker keeps what matches a pattern in one place.
type pooling struct{ brokers.Conn }

func TestTheLagOfAPatternThatTheBrokerKeepsInOnePlaceIsThereOnce(t *testing.T) {
	w := newPair(t, pooling{memory.New()}, memory.New(), bus.Config{})
	w.subscribe(bus.Subscription{
		Name: "s", Channels: []string{"y.z", "x.*"}, Group: "g", Brokers: []string{"main"},
		Handler: func(context.Context, schema.Event) error { return nil },
	})
	lags, err := w.Lag(t.Context())
	var got []string
	for _, l := range lags {
		got = append(got, fmt.Sprint(l.Channel, " ", l.Waiting))
	}
	if err != nil || !slices.IsSorted(got) || !slices.Contains(got, "x.* 7") || !slices.Contains(got, "y.z 1") {
		t.Errorf("got %q, %v", got, err)
	}
	w.run()
}

// A stubborn broker creates nothing, until it does.
type stubborn struct {
	brokers.Conn
	mu        sync.Mutex
	tries     int
	permanent bool
}

func (s *stubborn) Retryable(error) bool { return !s.permanent }

func (s *stubborn) Provision(context.Context, brokers.Provision) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tries++; s.permanent || s.tries < 3 {
		return errors.New("the account may not create topics")
	}
	return nil
}

func TestTheStartCreatesWhatIsMissingBeforeItSubscribes(t *testing.T) {
	audit := &stubborn{Conn: memory.New()}
	w := newPair(t, memory.New(), audit, bus.Config{EnsureChannels: true})
	w.subscribe(bus.Subscription{Name: "s", Channels: []string{"x.c"}, Handler: func(context.Context, schema.Event) error { return nil }})
	if err := w.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if audit.tries != 3 {
		t.Errorf("it was tried %d times", audit.tries)
	}
}

func TestAnAccountThatMayNotCreateEndsTheStartWithTheBrokersName(t *testing.T) {
	w := newPair(t, memory.New(), &stubborn{Conn: memory.New(), permanent: true}, bus.Config{EnsureChannels: true})
	w.subscribe(bus.Subscription{Name: "s", Channels: []string{"x.c"}, Handler: func(context.Context, schema.Event) error { return nil }})
	err := w.Start(t.Context())
	var be *bus.BrokerError
	if !errors.As(err, &be) || be.Broker != "audit" || !strings.Contains(err.Error(), "may not create topics") {
		t.Errorf("got %v", err)
	}
}
