package dedup_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/eventbus-go/eventbus/internal/testbroker"
	"github.com/eventbus-go/eventbus/store/dedup"
	"github.com/eventbus-go/eventbus/store/redis"
)

// stores runs a test on every store.
func stores(t *testing.T, test func(t *testing.T, s dedup.Store)) {
	t.Run("memory", func(t *testing.T) { test(t, dedup.NewMemory(0)) })
	t.Run("redis", func(t *testing.T) {
		opt, err := goredis.ParseURL(testbroker.RealRedis(t).URL())
		if err != nil {
			t.Fatal(err)
		}
		client := goredis.NewClient(opt)
		defer client.Close()
		test(t, redis.NewDedup(client))
	})
}

func reserve(t *testing.T, s dedup.Store, scope, id string, token uint64, lease time.Duration) dedup.State {
	t.Helper()
	state, err := s.Reserve(t.Context(), scope, id, token, lease)
	if err != nil {
		t.Fatal(err)
	}
	return state
}

func TestAnEventIsReservedThenConfirmedOrReleased(t *testing.T) {
	stores(t, func(t *testing.T, s dedup.Store) {
		const long = time.Minute
		check := func(what string, got, want dedup.State) {
			t.Helper()
			if got != want {
				t.Errorf("%s: %v, want %v", what, got, want)
			}
		}
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Error(err)
			}
		}
		check("a new event", reserve(t, s, "a", "1", 1, long), dedup.Fresh)
		check("one that was begun", reserve(t, s, "a", "1", 2, long), dedup.Reserved)
		check("that of another scope", reserve(t, s, "b", "1", 3, long), dedup.Fresh)
		must(s.Release(t.Context(), "a", "1", 2))
		check("after a release by somebody else", reserve(t, s, "a", "1", 4, long), dedup.Reserved)
		must(s.Release(t.Context(), "a", "1", 1))
		check("after its release", reserve(t, s, "a", "1", 5, long), dedup.Fresh)
		must(s.Confirm(t.Context(), "a", "1", long))
		check("a handled one", reserve(t, s, "a", "1", 6, long), dedup.Handled)
		must(s.Release(t.Context(), "a", "1", 5))
		check("a handled one that is released", reserve(t, s, "a", "1", 7, long), dedup.Handled)
	})
}

// A process that dies while it handles an event holds it for its lease, and a handled event is known for its window.
func TestALeaseAndAWindowEnd(t *testing.T) {
	stores(t, func(t *testing.T, s dedup.Store) {
		reserve(t, s, "a", "died", 1, 50*time.Millisecond)
		reserve(t, s, "a", "done", 2, time.Minute)
		if err := s.Confirm(t.Context(), "a", "done", 50*time.Millisecond); err != nil {
			t.Fatal(err)
		}
		for _, id := range []string{"died", "done"} {
			deadline := time.Now().Add(10 * time.Second)
			for reserve(t, s, "a", id, 3, time.Minute) != dedup.Fresh {
				if time.Now().After(deadline) {
					t.Fatalf("%s is still known", id)
				}
				time.Sleep(5 * time.Millisecond)
			}
		}
	})
}

// Many that want one event at once: one gets it.
func TestOneOfManyGetsAnEvent(t *testing.T) {
	stores(t, func(t *testing.T, s dedup.Store) {
		var won atomic.Int64
		var wg sync.WaitGroup
		for token := range uint64(16) {
			wg.Go(func() {
				for i := range 50 {
					if state, err := s.Reserve(context.Background(), "a", fmt.Sprint(i), token, time.Minute); err == nil && state == dedup.Fresh {
						won.Add(1)
					}
				}
			})
		}
		wg.Wait()
		if won.Load() != 50 {
			t.Errorf("50 events were begun %d times", won.Load())
		}
	})
}

func TestAMemoryIsBoundedAndCountsWhatItForgets(t *testing.T) {
	m := dedup.NewMemory(10)
	for i := range 25 {
		id := fmt.Sprint(i)
		reserve(t, m, "a", id, 1, time.Minute)
		if err := m.Confirm(t.Context(), "a", id, time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	if m.Forgotten() != 15 || reserve(t, m, "a", "14", 2, time.Minute) != dedup.Fresh ||
		reserve(t, m, "a", "15", 2, time.Minute) != dedup.Handled {
		t.Errorf("it has forgotten %d", m.Forgotten())
	}
}
