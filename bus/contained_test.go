package bus_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/schema"
	"github.com/eventbus-go/eventbus/store/deadletter"
)

// A nilError is what is returned by mistake as a nil pointer: an error that is not nil, and cannot say what it is.
type nilError struct{ code string }

func (e *nilError) Error() string { return "code " + e.code }

// The attempts fail by a panic, with short waits and with long ones, and end in one dead letter.
func TestAnErrorThatPanicsIsAPanicOfItsHandler(t *testing.T) {
	for name, wait := range map[string]time.Duration{"in place": time.Millisecond, "later": time.Minute} {
		t.Run(name, func(t *testing.T) {
			store := deadletter.NewMemory(0, 0)
			var failed atomic.Int32
			hook := bus.WithHooks(bus.Hooks{Failed: func(bus.Failed) { failed.Add(1) }})
			bubble(t, inMemory, store, []bus.Subscription{{
				Name: "s", Channels: []string{"x.all"},
				Retry:   bus.RetryPolicy{Attempts: 3, Backoff: bus.Backoff{Min: wait, Max: wait, NoJitter: true}},
				Handler: func(context.Context, schema.Event) error { var e *nilError; return e },
			}}, func(t *testing.T, b *bus.Bus) {
				emit(t, b, named("e1", "user:1"))
				time.Sleep(time.Hour)
				st, letters := subOf(b), lettersOf(t, store)
				if st.Panics != 3 || st.Failed != 1 || failed.Load() != 1 || len(letters) != 1 {
					t.Fatalf("the hook was called %d times; %+v; letters %+v", failed.Load(), st, letters)
				}
				if l := letters[0]; l.Attempts != 3 || l.Reason != deadletter.ReasonPanic || !strings.Contains(l.Error, "nil pointer") {
					t.Errorf("the letter is %+v", l)
				}
			}, hook)
		})
	}
}

// A panicStore panics for as long as it is away.
type panicStore struct {
	*deadletter.Memory
	away atomic.Bool
}

func (s *panicStore) Put(ctx context.Context, l ...deadletter.Letter) error {
	if s.away.Load() {
		panic("the store is broken")
	}
	return s.Memory.Put(ctx, l...)
}

// A store that panics is one that is away: nothing is lost, and its letters are there once it works.
func TestAStoreOfDeadLettersThatPanicsIsAway(t *testing.T) {
	store := &panicStore{Memory: deadletter.NewMemory(0, 0)}
	store.away.Store(true)
	bubble(t, inMemory, store, []bus.Subscription{{
		Name: "s", Channels: []string{"x.all"}, Retry: bus.RetryPolicy{Attempts: 1},
		Handler: func(context.Context, schema.Event) error { return errors.New("no") },
	}}, func(t *testing.T, b *bus.Bus) {
		emit(t, b, named("e1", "user:1"))
		time.Sleep(time.Hour)
		if st := b.Stats(); st.Subscriptions["s"].InFlight != 1 || st.DeadLetters.Err == nil || st.Panics == 0 {
			t.Errorf("while it panics: %+v", st)
		}
		store.away.Store(false)
		time.Sleep(time.Minute)
		if got := lettersOf(t, store); len(got) != 1 {
			t.Errorf("the letters are %+v", got)
		}
	})
}

// A panicConn panics wherever the bus calls it beside Publish and Subscribe.
type panicConn struct{ brokers.Conn }

func (p panicConn) Retryable(error) bool { panic("retryable") }
func (p panicConn) Warnings() []string   { panic("warnings") }
func (p panicConn) Publish(_ context.Context, msgs []brokers.Message) error {
	return brokers.FailAll(len(msgs), brokers.NotSent, errors.New("no"))
}
func (p panicConn) Subscribe(ctx context.Context, s brokers.Subscription, sink brokers.Sink) error {
	sink.Ready()
	sink.Deliver([]brokers.Delivery{{Message: brokers.Message{Channel: "x.all", Body: []byte("no event")}, Settler: panicSettler{}}})
	<-ctx.Done()
	return nil
}

type panicSettler struct{}

func (panicSettler) Settle(context.Context, []brokers.Settlement) error { panic("settle") }

func TestAPanicOfADriverIsContained(t *testing.T) {
	bubble(t, func() brokers.Conn { return panicConn{inMemory()} }, deadletter.NewMemory(0, 0), []bus.Subscription{{
		Name: "s", Channels: []string{"x.all"},
		Handler: func(context.Context, schema.Event) error { return nil },
	}}, func(t *testing.T, b *bus.Bus) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := b.Publish(ctx, named("e1", "user:1")); err == nil {
			t.Error("Publish has succeeded")
		}
		time.Sleep(time.Hour)
		// One of Warnings, one of Settle, and one at least of Retryable.
		if st := b.Stats(); st.Panics < 3 {
			t.Errorf("contained: %d", st.Panics)
		}
	})
}

// A brittleConn panics on a goroutine of its own when it is first subscribed to.
type brittleConn struct {
	brokers.Conn
	calls atomic.Int32
}

func (c *brittleConn) Subscribe(ctx context.Context, s brokers.Subscription, sink brokers.Sink) error {
	if c.calls.Add(1) > 1 {
		return c.Conn.Subscribe(ctx, s, sink)
	}
	done := make(chan error, 1)
	go func() { done <- brokers.Contain(func() error { panic("brittle") }) }()
	return <-done
}

func TestAPanicOnAGoroutineOfADriverIsCountedAndTriedAgain(t *testing.T) {
	var handled atomic.Int32
	bubble(t, func() brokers.Conn { return &brittleConn{Conn: inMemory()} }, deadletter.NewMemory(0, 0), []bus.Subscription{{
		Name: "s", Channels: []string{"x.all"},
		Handler: func(context.Context, schema.Event) error { handled.Add(1); return nil },
	}}, func(t *testing.T, b *bus.Bus) {
		time.Sleep(time.Minute)
		if err := b.Publish(t.Context(), named("e1", "user:1")); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if st := b.Stats(); st.Panics != 1 || handled.Load() != 1 {
			t.Errorf("%d panics, %d events handled", st.Panics, handled.Load())
		}
	})
}

// Whoever redrives by a request that has a deadline gets an answer by then, however slow the handlers are.
func TestARedriveIntoAFullSubscriptionEndsWithItsContext(t *testing.T) {
	store := deadletter.NewMemory(0, 0)
	var slow atomic.Bool
	var handled atomic.Int32
	bubble(t, inMemory, store, []bus.Subscription{{
		Name: "s", Channels: []string{"x.all"}, Prefetch: 1, Concurrency: 1, Retry: bus.RetryPolicy{Attempts: 1}, Timeout: bus.NoTimeout,
		Handler: func(context.Context, schema.Event) error {
			if !slow.Load() {
				return errors.New("no")
			}
			time.Sleep(10 * time.Minute)
			handled.Add(1)
			return nil
		},
	}}, func(t *testing.T, b *bus.Bus) {
		emit(t, b, named("e1", "user:1"))
		emit(t, b, named("e2", "user:2"))
		emit(t, b, named("e3", "user:3"))
		time.Sleep(time.Minute)
		slow.Store(true)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		err := b.ToSubscription(ctx, lettersOf(t, store))
		if took := time.Since(began); took != time.Second || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("it returned after %v: %v", took, err)
		}
		emit(t, b, named("e4", "user:4")) // the feed has not lost its turn
		time.Sleep(time.Hour)
		if handled.Load() != 2 {
			t.Errorf("handled: %d, want the one letter that was let in, and the event after it", handled.Load())
		}
	})
}
