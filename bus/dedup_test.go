package bus_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/brokers/memory"
	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/router"
	"github.com/eventbus-go/eventbus/router/middleware"
	"github.com/eventbus-go/eventbus/schema"
	"github.com/eventbus-go/eventbus/store/deadletter"
	"github.com/eventbus-go/eventbus/store/dedup"
)

// A moodyDedup is a store that can be away.
type moodyDedup struct {
	*dedup.Memory
	away atomic.Bool
}

func (m *moodyDedup) Reserve(ctx context.Context, scope, id string, token uint64, lease time.Duration) (dedup.State, error) {
	if m.away.Load() {
		return dedup.Fresh, errors.New("the store is away")
	}
	return m.Memory.Reserve(ctx, scope, id, token, lease)
}

// Events that come twice are handled once, those that fail are not taken for handled, and a redrive of them is handled.
func TestAnEventIsHandledOnceByItsID(t *testing.T) {
	letters := deadletter.NewMemory(0, 0)
	var handled atomic.Int64
	var fixed atomic.Bool
	bubble(t, inMemory, letters, []bus.Subscription{{
		Name: "s", Channels: []string{"x.all"}, Dedup: bus.DedupPolicy{Store: dedup.NewMemory(0)},
		Retry: bus.RetryPolicy{Attempts: 2, Backoff: bus.Backoff{Min: time.Minute, NoJitter: true}},
		Handler: func(_ context.Context, e schema.Event) error {
			if e.ID == "e3" && !fixed.Load() {
				return errors.New("no")
			}
			handled.Add(1)
			return nil
		},
	}}, func(t *testing.T, b *bus.Bus) {
		for range 3 {
			for i := range 5 {
				emit(t, b, named(fmt.Sprint("e", i), fmt.Sprint("user:", i)))
			}
			time.Sleep(time.Hour)
		}
		s := b.Stats().Subscriptions["s"]
		if handled.Load() != 4 || s.Handled != 4 || s.Duplicate != 8 || s.Failed != 3 || s.Retries != 3 {
			t.Errorf("%d handled: %+v", handled.Load(), s)
		}
		fixed.Store(true)
		r, err := deadletter.Redrive(t.Context(), letters, b.ToSubscription, deadletter.RedriveOptions{})
		if r.Sent != 1 || err != nil || handled.Load() != 5 {
			t.Errorf("the redrive says %+v, %v; %d are handled", r, err, handled.Load())
		}
	})
}

// While the store is away no event is skipped: it waits, without using up an attempt, or is handled, by policy.
func TestNoEventIsSkippedWhileTheDedupStoreIsAway(t *testing.T) {
	for _, conn := range []func() brokers.Conn{inMemory, func() brokers.Conn { return without{memory.New(), unordered} }} {
		for when, want := range map[middleware.DedupWhenDown]int64{middleware.DedupWait: 0, middleware.DedupHandle: 10} {
			store := &moodyDedup{Memory: dedup.NewMemory(0)}
			var handled atomic.Int64
			bubble(t, conn, deadletter.NewMemory(0, 0), []bus.Subscription{{
				Name: "s", Channels: []string{"x.all"}, Dedup: bus.DedupPolicy{Store: store, WhenDown: when},
				Retry: bus.RetryPolicy{Attempts: 1},
				Handler: func(ctx context.Context, _ schema.Event) error {
					if n := router.Attempt(ctx); n != 1 {
						t.Errorf("waiting has used up attempts: this is number %d", n)
					}
					handled.Add(1)
					return nil
				},
			}}, func(t *testing.T, b *bus.Bus) {
				store.away.Store(true)
				for i := range 10 {
					emit(t, b, named(fmt.Sprint("e", i), "user:1"))
				}
				time.Sleep(time.Minute)
				if got := handled.Load(); got != want {
					t.Errorf("policy %d: %d were handled while the store was away, want %d", when, got, want)
				}
				store.away.Store(false)
				time.Sleep(10 * time.Second)
				s := b.Stats().Subscriptions["s"]
				if handled.Load() != 10 || s.Handled != 10 || s.DedupErrors == 0 || s.Retries != 0 || s.Failed != 0 {
					t.Errorf("policy %d: %d handled: %+v", when, handled.Load(), s)
				}
			})
		}
	}
}
