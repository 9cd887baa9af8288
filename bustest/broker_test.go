package bustest_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/bustest"
	"github.com/eventbus-go/eventbus/router"
	"github.com/eventbus-go/eventbus/schema"
)

var toOrders = router.Config{Rules: []router.Rule{{Match: []string{">"}, Channels: []string{"orders"}}}}

var quiet = bus.WithLogger(slog.New(slog.DiscardHandler))

// A seen is what a handler saw, and when.
type seen struct {
	mu    sync.Mutex
	began time.Time
	list  []string
}

func (s *seen) note(e schema.Event, attempt int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = append(s.list, fmt.Sprintf("%s#%d@%v", e.Type, attempt, time.Since(s.began).Round(time.Second)))
}

func (s *seen) all() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.list)
}

// play publishes events of the given types, all of one key, to one subscription, lets a time pass, and returns what its handler saw.
func play(t *testing.T, broker *bustest.Broker, pass time.Duration, types ...string) ([]string, bus.Stats) {
	t.Helper()
	b, err := bus.New(t.Context(), broker, bus.Config{Config: toOrders}, quiet)
	if err != nil {
		t.Fatal(err)
	}
	s := &seen{began: time.Now()}
	_, err = b.Subscribe(bus.Subscription{
		Name: "orders", Group: "orders", Channels: []string{"orders"}, Retry: bus.RetryPolicy{Attempts: 1},
		Handler: func(ctx context.Context, e schema.Event) error { s.note(e, router.Attempt(ctx)); return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, typ := range types {
		if err := b.Emit(t.Context(), schema.Event{Type: typ, Subject: "order:1"}); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(pass)
	if err := b.Close(t.Context()); err != nil {
		t.Error(err)
	}
	st := b.Stats()
	if !st.Published.Balanced() || !st.Subscriptions["orders"].Balanced() {
		t.Errorf("the books do not balance: %+v", st)
	}
	return s.all(), st
}

func TestABrokerMisbehavesByItsScript(t *testing.T) {
	for _, tt := range []struct {
		name     string
		faults   []bustest.Fault
		want     []string
		injected map[bustest.Kind]int
		gaps     int64
	}{
		{"not at all", nil, []string{"a#1@0s", "b#1@0s", "c#1@0s"}, map[bustest.Kind]int{}, 0},
		{"drop", []bustest.Fault{bustest.Drop().Of("b")}, []string{"a#1@0s", "c#1@0s"},
			map[bustest.Kind]int{bustest.Dropped: 1}, 1},
		{"duplicate", []bustest.Fault{bustest.Duplicate().Nth(1, 3)}, []string{"a#1@0s", "a#1@0s", "b#1@0s", "c#1@0s", "c#1@0s"},
			map[bustest.Kind]int{bustest.Duplicated: 2}, 0},
		{"delay, and later events of the key wait", []bustest.Fault{bustest.Delay(time.Hour, time.Hour).Of("a")},
			[]string{"a#1@1h0m0s", "b#1@1h0m0s", "c#1@1h0m0s"}, map[bustest.Kind]int{bustest.Delayed: 1}, 0},
		{"delay, and a shorter one of the key waits behind it",
			[]bustest.Fault{bustest.Delay(time.Hour, time.Hour).Of("a"), bustest.Delay(time.Minute, time.Minute).Of("b")},
			[]string{"a#1@1h0m0s", "b#1@1h0m0s", "c#1@1h0m0s"}, map[bustest.Kind]int{bustest.Delayed: 2}, 0},
		{"reorder", []bustest.Fault{bustest.Reorder(1).Of("a")}, []string{"b#1@0s", "a#1@0s", "c#1@0s"},
			map[bustest.Kind]int{bustest.Reordered: 1}, 0},
		{"reorder, and too few overtake", []bustest.Fault{bustest.Reorder(9).Of("a")}, []string{"b#1@0s", "c#1@0s", "a#1@1s"},
			map[bustest.Kind]int{bustest.Reordered: 1}, 0},
		{"crash before ack, twice", []bustest.Fault{bustest.CrashBeforeAck().Of("a").AtMost(2)},
			[]string{"a#1@0s", "b#1@0s", "c#1@0s", "a#2@1s", "a#3@2s"}, map[bustest.Kind]int{bustest.Crashed: 2}, 0},
		{"on another channel", []bustest.Fault{bustest.Drop().On("invoices")}, []string{"a#1@0s", "b#1@0s", "c#1@0s"},
			map[bustest.Kind]int{}, 0},
		{"never by chance", []bustest.Fault{bustest.Drop().On("orders").Rate(1e-300)}, []string{"a#1@0s", "b#1@0s", "c#1@0s"},
			map[bustest.Kind]int{}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				broker := bustest.NewBroker(t, 1, tt.faults...)
				got, st := play(t, broker, 2*time.Hour, "a", "b", "c")
				if !slices.Equal(got, tt.want) {
					t.Errorf("the handler saw %v, not %v", got, tt.want)
				}
				if in := broker.Injected(); !maps.Equal(in, tt.injected) {
					t.Errorf("injected %v, not %v", in, tt.injected)
				}
				if gaps := st.Subscriptions["orders"].Gaps; gaps != tt.gaps {
					t.Errorf("%d gaps, not %d", gaps, tt.gaps)
				}
			})
		})
	}
}

func TestAnOutageFailsPublishingAndEndsByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broker := bustest.NewBroker(t, 1, bustest.Outage(0, time.Hour))
		if err := broker.Publish(t.Context(), []brokers.Message{{Channel: "orders"}}); !errors.Is(err, bustest.ErrAway) {
			t.Errorf("Publish answers %v", err)
		}
		got, st := play(t, broker, 2*time.Hour, "a")
		if len(got) != 1 || got[0] == "a#1@0s" || st.Published.Confirmed != 1 {
			t.Errorf("the handler saw %v; %+v", got, st.Published)
		}
	})
}

// What was handled during an outage cannot be acknowledged, and comes again after it.
func TestAnOutageLosesAcknowledgements(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broker := bustest.NewBroker(t, 1, bustest.Outage(time.Minute, time.Hour))
		b, err := bus.New(t.Context(), broker, bus.Config{Config: toOrders}, quiet)
		if err != nil {
			t.Fatal(err)
		}
		s := &seen{began: time.Now()}
		_, err = b.Subscribe(bus.Subscription{
			Name: "orders", Group: "orders", Channels: []string{"orders"}, Timeout: bus.NoTimeout,
			Handler: func(ctx context.Context, e schema.Event) error {
				s.note(e, router.Attempt(ctx))
				if router.Attempt(ctx) == 1 {
					time.Sleep(10 * time.Minute)
				}
				return nil
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := b.Publish(t.Context(), schema.Event{Type: "a"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Hour)
		if err := b.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if want := []string{"a#1@0s", "a#2@1h1m0s"}; !slices.Equal(s.all(), want) {
			t.Errorf("the handler saw %v, not %v", s.all(), want)
		}
	})
}

// Every event is handled by the end, whatever a broker does that loses nothing.
func TestNothingIsLostByWhatLosesNothing(t *testing.T) {
	bustest.Simulate(t, 20, func(t *testing.T, seed uint64) {
		broker := bustest.NewBroker(t, seed,
			bustest.Duplicate().Rate(0.2), bustest.Delay(time.Second, time.Hour).Rate(0.2), bustest.Reorder(2).Rate(0.2),
			bustest.CrashBeforeAck().Rate(0.3), bustest.Outage(time.Minute, time.Minute))
		types := []string{"a", "b", "c", "d", "e", "f", "g", "h"}
		got, _ := play(t, broker, 48*time.Hour, types...)
		for _, typ := range types {
			if !slices.ContainsFunc(got, func(s string) bool { return s[:1] == typ }) {
				t.Errorf("%s was lost: %v; %v", typ, got, broker)
			}
		}
	})
}

// The same seed does the same again; another one does not.
func TestASeedReplays(t *testing.T) {
	run := func(t *testing.T, seed uint64) (got []string) {
		synctest.Test(t, func(t *testing.T) {
			broker := bustest.NewBroker(t, seed, bustest.Drop().Rate(0.2), bustest.Delay(0, 24*time.Hour).Rate(0.5), bustest.CrashBeforeAck().Rate(0.2))
			got, _ = play(t, broker, 100*24*time.Hour, "a", "b", "c", "d", "e", "f", "g", "h", "i", "j")
		})
		return got
	}
	differ := 0
	for seed := range uint64(10) {
		first := run(t, seed)
		if again := run(t, seed); !reflect.DeepEqual(first, again) {
			t.Errorf("seed %d: first %v, then %v", seed, first, again)
		}
		if !reflect.DeepEqual(first, run(t, seed+100)) {
			differ++
		}
	}
	if differ < 8 {
		t.Errorf("only %d of 10 other seeds differ", differ)
	}
}

func TestAFaultThatCannotBeFailsTheTest(t *testing.T) {
	for _, tt := range []struct {
		fault bustest.Fault
		says  string
	}{
		{bustest.Drop().Of("a..b"), "fault 1 (drop): Of: "},
		{bustest.Drop().On("a b"), "fault 1 (drop): On: "},
		{bustest.Drop().Rate(1.5), "Rate(1.5): it is between 0 and 1"},
		{bustest.Drop().Nth(0), "Nth counts from 1"},
		{bustest.Delay(time.Hour, time.Minute), "a time from 1h0m0s to 1m0s cannot be meant"},
		{bustest.Reorder(0), "Reorder(0): it is at least 1"},
	} {
		n := &notebook{T: t}
		bustest.NewBroker(n, 1, tt.fault)
		n.says(tt.says)
	}
}
