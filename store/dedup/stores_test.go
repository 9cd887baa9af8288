package dedup_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/eventbus-go/eventbus/internal/testbroker"
	"github.com/eventbus-go/eventbus/store/dedup"
	"github.com/eventbus-go/eventbus/store/redis"
	"github.com/eventbus-go/eventbus/store/sqlite"
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
	t.Run("sqlite", func(t *testing.T) {
		s, err := dedup.Open("sqlite:" + filepath.Join(t.TempDir(), "handled.db"))
		if err != nil {
			t.Fatal(err)
		}
		defer s.(io.Closer).Close()
		test(t, s)
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
		held := func(what string, token uint64, want bool) {
			t.Helper()
			got, err := s.Renew(t.Context(), "a", "1", token, long)
			if must(err); got != want {
				t.Errorf("%s: held is %v, want %v", what, got, want)
			}
		}
		held("its own lease", 1, true)
		held("that of somebody else", 2, false)
		must(s.Release(t.Context(), "a", "1", 2))
		check("after a release by somebody else", reserve(t, s, "a", "1", 4, long), dedup.Reserved)
		must(s.Release(t.Context(), "a", "1", 1))
		check("after its release", reserve(t, s, "a", "1", 5, long), dedup.Fresh)
		must(s.Confirm(t.Context(), "a", "1", long))
		check("a handled one", reserve(t, s, "a", "1", 6, long), dedup.Handled)
		held("a handled one", 5, false)
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
			deadline := time.Now().Add(time.Minute)
			for reserve(t, s, "a", id, 3, time.Minute) != dedup.Fresh {
				if time.Now().After(deadline) {
					t.Fatalf("%s is still known", id)
				}
				time.Sleep(5 * time.Millisecond)
			}
		}
	})
}

// A handler that takes longer than its lease keeps the event, where it renews it, and no other.
func TestALeaseThatIsRenewedHolds(t *testing.T) {
	stores(t, func(t *testing.T, s dedup.Store) {
		const short = 20 * time.Millisecond
		kept := ""
		for i := 0; kept == ""; i++ { // until this machine is not away for longer than the lease
			id := fmt.Sprint("kept", i)
			reserve(t, s, "a", id, 1, short)
			if held, err := s.Renew(t.Context(), "a", id, 1, time.Hour); err != nil {
				t.Fatal(err)
			} else if held {
				kept = id
			}
		}
		reserve(t, s, "a", "2", 1, short)
		deadline := time.Now().Add(time.Minute)
		for reserve(t, s, "a", "2", 2, time.Minute) != dedup.Fresh { // now the first lease would be over too
			if time.Now().After(deadline) {
				t.Fatal("the other lease does not end")
			}
			time.Sleep(5 * time.Millisecond)
		}
		if got := reserve(t, s, "a", kept, 2, time.Minute); got != dedup.Reserved {
			t.Errorf("the renewed one is %v", got)
		}
		if held, err := s.Renew(t.Context(), "a", "2", 1, time.Minute); held || err != nil {
			t.Errorf("a lease that somebody else has by now: held is %v, %v", held, err)
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

// A table that two processes share: what one of them handles the other knows, also after both were started anew.
func TestATableIsSharedAndOutlivesItsProcess(t *testing.T) {
	url := "sqlite:" + filepath.Join(t.TempDir(), "handled.db")
	open := func() dedup.Store {
		s, err := dedup.Open(url)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	a, b := open(), open()
	reserve(t, a, "s", "1", 1, time.Minute)
	if got := reserve(t, b, "s", "1", 2, time.Minute); got != dedup.Reserved {
		t.Errorf("what the one handles the other sees as %v", got)
	}
	if err := a.Confirm(t.Context(), "s", "1", time.Minute); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(a.(io.Closer).Close(), b.(io.Closer).Close()); err != nil {
		t.Fatal(err)
	}
	c := open()
	defer c.(io.Closer).Close()
	if got := reserve(t, c, "s", "1", 3, time.Minute); got != dedup.Handled {
		t.Errorf("after a restart it is %v", got)
	}
}

func TestATableIsBoundedAndCountsWhatItForgets(t *testing.T) {
	s, err := dedup.Open("sqlite:" + filepath.Join(t.TempDir(), "handled.db") + "?max_events=10")
	if err != nil {
		t.Fatal(err)
	}
	defer s.(io.Closer).Close()
	reserve(t, s, "a", "running", 1, time.Hour)
	for i := range 25 {
		if err := s.Confirm(t.Context(), "a", fmt.Sprint(i), time.Hour+time.Duration(i)*time.Second); err != nil {
			t.Fatal(err)
		}
	}
	if n := s.(*sqlite.Dedup).Forgotten(); n < 14 || n > 15 || reserve(t, s, "a", "10", 2, time.Minute) != dedup.Fresh ||
		reserve(t, s, "a", "24", 2, time.Minute) != dedup.Handled || reserve(t, s, "a", "running", 2, time.Minute) != dedup.Reserved {
		t.Errorf("it has forgotten %d", n)
	}
}

func TestAURLThatNoStoreReadsIsRefused(t *testing.T) {
	for _, url := range []string{"", "handled.db", "mysql://u:secret@h/db", "memory://?max_events=0", "memory://?x=1", "sqlite:", "sqlite:x?max_letters=3"} {
		s, err := dedup.Open(url)
		if err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v, %v", url, s, err)
		}
	}
	if _, err := dedup.Open("mysql://h/db"); !errors.Is(err, dedup.ErrNoScheme) {
		t.Error(err)
	}
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

// Suppose the clock of a Redis server is set back by an hour: a process that has died would hold its event for an hour and a minute.
func TestALeaseEndsInTimeWhereTheClockOfTheServerIsSetBack(t *testing.T) {
	server := testbroker.StartRedis(t, testbroker.RedisOptions{Clock: true})
	s := redis.NewDedup(server.Client())
	ahead := func(d time.Duration) {
		t.Helper()
		if err := server.SetClock(d); err != nil {
			t.Fatal(err)
		}
	}
	check := func(id string, want dedup.State) {
		t.Helper()
		if got := reserve(t, s, "a", id, 9, time.Second); got != want {
			t.Errorf("%s: %v, want %v", id, got, want)
		}
	}
	renew := func(id string, lease time.Duration) {
		t.Helper()
		if held, err := s.Renew(t.Context(), "a", id, 1, lease); err != nil || !held {
			t.Errorf("%s: held is %v, %v", id, held, err)
		}
	}
	// Leases of hours: a slow machine takes its time between two steps.
	for _, id := range []string{"dead", "alive", "long"} {
		reserve(t, s, "a", id, 1, 2*time.Hour)
	}
	renew("long", 100*time.Hour)
	for _, back := range []time.Duration{0, 50 * time.Hour} {
		ahead(-back)
		check("dead", dedup.Reserved)
		check("alive", dedup.Reserved)
		check("long", dedup.Reserved)
	}
	ahead(-49 * time.Hour)
	check("dead", dedup.Reserved)
	renew("alive", 2*time.Hour)
	ahead(-47*time.Hour - 30*time.Minute)
	check("dead", dedup.Fresh)
	check("alive", dedup.Reserved)
	ahead(49 * time.Hour)
	check("long", dedup.Reserved)
	ahead(51 * time.Hour)
	check("long", dedup.Fresh)
}
