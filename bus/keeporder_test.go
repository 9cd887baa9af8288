package bus_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/brokers/memory"
	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/schema"
	"github.com/eventbus-go/eventbus/store/deadletter"
)

// A scribe handles events, fails those it is told to, and notes the ids of the others.
type scribe struct {
	mu    sync.Mutex
	fails map[string]bool
	notes []string
}

func (s *scribe) handle(_ context.Context, e schema.Event) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fails[e.ID] {
		return errors.New("no")
	}
	s.notes = append(s.notes, e.ID)
	return nil
}

func (s *scribe) failing(ids ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fails = make(map[string]bool)
	for _, id := range ids {
		s.fails[id] = true
	}
}

func (s *scribe) take() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	notes := s.notes
	s.notes = nil
	return notes
}

func TestLaterEventsOfAKeyWaitBehindADeadLetterAndAreReleasedInOrder(t *testing.T) {
	store := newMoodyStore()
	s := &scribe{}
	bubble(t, inMemory, store, []bus.Subscription{{
		Name: "s", Group: "g", Channels: []string{"x.all", "x.a"}, KeepOrder: true, Handler: s.handle,
		Retry: bus.RetryPolicy{Attempts: 1},
	}}, func(t *testing.T, b *bus.Bus) {
		redrive := func(q deadletter.Query) deadletter.Report {
			t.Helper()
			r, err := deadletter.Redrive(t.Context(), store, b.ToSubscription, deadletter.RedriveOptions{Query: q, Batch: 3})
			if err != nil {
				t.Errorf("redrive: %v", err)
			}
			time.Sleep(time.Second)
			return r
		}
		check := func(what string, want ...string) {
			t.Helper()
			if got := s.take(); !slices.Equal(got, want) {
				t.Errorf("%s: handled were %v, want %v", what, got, want)
			}
		}
		s.failing("a0")
		for i := range 5 {
			emit(t, b, named(fmt.Sprint("a", i), "user:a"))
			emit(t, b, named(fmt.Sprint("b", i), "user:b"))
			time.Sleep(time.Second)
		}
		check("another key goes on", "b0", "b1", "b2", "b3", "b4")
		got := lettersOf(t, store)
		if len(got) != 5 || got[0].Reason != deadletter.ReasonFailed || got[4].Reason != deadletter.ReasonBehind || got[4].Attempts != 0 {
			t.Fatalf("the letters are %+v", got)
		}

		s.failing("a0") // still
		if r := redrive(deadletter.Query{}); r.Sent != 0 || r.Behind != 3 {
			t.Errorf("a redrive whose first fails again: %+v", r)
		}
		check("behind one that fails again")

		s.failing("a2")
		if r := redrive(deadletter.Query{EventTypes: []string{"a.b"}, Until: time.Now()}); r.Sent != 2 {
			t.Errorf("a redrive whose third fails: %+v", r)
		}
		check("up to the one that fails", "a0", "a1")
		emit(t, b, named("a5", "user:a"))
		time.Sleep(time.Second)
		check("an event behind it")

		s.failing()
		dry, err := deadletter.Redrive(t.Context(), store, b.ToSubscription, deadletter.RedriveOptions{DryRun: true})
		if dry.Sent != 4 || err != nil {
			t.Errorf("a dry run says %+v, %v", dry, err)
		}
		if _, err := deadletter.Redrive(t.Context(), store, deadletter.ToChannel(b.Send), deadletter.RedriveOptions{}); err == nil ||
			!strings.Contains(err.Error(), "ToSubscription") {
			t.Errorf("a redrive to the channel: %v", err)
		}
		if r := redrive(deadletter.Query{IDs: []string{got[4].ID}}); r.Sent != 4 || r.Behind != 0 {
			t.Errorf("the last redrive: %+v", r)
		}
		check("the rest", "a2", "a3", "a4", "a5")
		emit(t, b, named("a6", "user:a"))
		time.Sleep(time.Second)
		check("when nothing waits", "a6")
		if n := len(lettersOf(t, store)); n != 0 {
			t.Errorf("%d letters are left", n)
		}
		if st := b.Stats().Subscriptions["s"]; st.Behind < 5 || st.InFlight != 0 {
			t.Errorf("the books say %+v", st)
		}
	})
}

// While the store is away nobody knows whether a key has a line: the subscription pauses, and handles nothing out of order.
func TestOrderIsKeptWhileTheStoreIsAway(t *testing.T) {
	store := newMoodyStore()
	s := &scribe{}
	bubble(t, inMemory, store, []bus.Subscription{{
		Name: "s", Group: "g", Channels: []string{"x.all"}, KeepOrder: true, Handler: s.handle, Retry: bus.RetryPolicy{Attempts: 1},
	}}, func(t *testing.T, b *bus.Bus) {
		s.failing("a0")
		emit(t, b, named("a0", "user:a"))
		time.Sleep(time.Second)
		store.away.Store(true)
		emit(t, b, named("a1", "user:a"), named("b0", "user:b"))
		time.Sleep(time.Minute)
		if got := s.take(); len(got) != 0 {
			t.Errorf("handled were %v", got)
		}
		if err := b.Health(t.Context()); err == nil {
			t.Error("Health says nothing")
		}
		store.away.Store(false)
		time.Sleep(3 * time.Second)
		if got := s.take(); !slices.Equal(got, []string{"b0"}) || len(lettersOf(t, store)) != 2 {
			t.Errorf("handled were %v, and the letters are %+v", got, lettersOf(t, store))
		}
	})
}

func (s *moodyStore) Line(ctx context.Context, subscription, key string, limit int) ([]deadletter.Letter, error) {
	if s.away.Load() {
		return nil, errors.New("the store is away")
	}
	return s.Memory.Line(ctx, subscription, key, limit)
}

// promising is a connection that says something else of itself.
type promising struct {
	brokers.Conn
	caps brokers.Capabilities
}

func (p promising) Capabilities() brokers.Capabilities { return p.caps }

func TestKeepOrderIsRefusedWhereItCannotBeHad(t *testing.T) {
	kafka := brokers.Capabilities{Groups: true, Durable: true, Order: brokers.OrderKey}
	streams, pubsub := kafka, kafka
	streams.Order, pubsub.Groups = brokers.OrderNone, false
	ok := bus.Subscription{Group: "g"}
	ungrouped, anyOrder := bus.Subscription{}, bus.Subscription{Group: "g", Retry: bus.RetryPolicy{AnyOrder: true}}
	for _, tt := range []struct {
		name string
		caps brokers.Capabilities
		cfg  bus.Config
		s    bus.Subscription
		want string
	}{
		{"no order in groups", streams, bus.Config{}, ok, "needs the order of a key in consumer groups"},
		{"no groups", pubsub, bus.Config{}, ungrouped, "memory://"},
		{"no group", kafka, bus.Config{}, ungrouped, "needs a Group"},
		{"any order", kafka, bus.Config{}, anyOrder, "contradict"},
		{"no letters", kafka, bus.Config{DeadLetters: "off"}, ok, "which are off"},
		{"letters in the process", kafka, bus.Config{}, ok, "redis://localhost:6379"},
		{"letters in a file", kafka, bus.Config{DeadLetters: "sqlite:" + t.TempDir() + "/l.db"}, ok, "redis://localhost:6379"},
		{"the broker in the process", memory.New().Capabilities(), bus.Config{}, ok, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.cfg.Config = testRules
			cfg, err := bus.ParseConfig([]byte("subscriptions: {s: {keep_order: true}}"))
			if err != nil {
				t.Fatal(err)
			}
			tt.cfg.Subscriptions = cfg.Subscriptions
			b, err := bus.New(t.Context(), promising{memory.New(), tt.caps}, tt.cfg)
			if err != nil {
				t.Fatal(err)
			}
			defer b.Close(ended())
			tt.s.Name, tt.s.Channels, tt.s.Handler = "s", []string{"x.all"}, func(context.Context, schema.Event) error { return nil }
			if _, err = b.Subscribe(tt.s); (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}
