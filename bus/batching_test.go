package bus_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/router"
	"github.com/eventbus-go/eventbus/schema"
	"github.com/eventbus-go/eventbus/store/deadletter"
)

// batches records what a BatchHandler was given.
type batches struct {
	mu    sync.Mutex
	sizes []int
	at    []time.Duration
	begin time.Time
}

func (b *batches) note(events []schema.Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sizes = append(b.sizes, len(events))
	b.at = append(b.at, time.Since(b.begin))
}

func (b *batches) all() ([]int, []time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.sizes), slices.Clone(b.at)
}

// A batch is handed over when it is full, or when its first event has waited for long enough, or at once in a shutdown.
func TestABatchIsFullOrHasWaited(t *testing.T) {
	got := batches{}
	s := bus.Subscription{
		Concurrency: 1, Batch: bus.BatchConfig{MaxEvents: 10, MaxWait: time.Minute},
		BatchHandler: func(_ context.Context, events []schema.Event) []error { got.note(events); return nil },
	}
	pausable(t, inMemory, bus.Config{}, s, func(t *testing.T, b *bus.Bus, sub *bus.Sub) {
		start(t, b)
		got.begin = time.Now()
		for i := range 25 {
			emit(t, b, named(fmt.Sprint("e", i), fmt.Sprint("user:", i)))
		}
		time.Sleep(time.Hour)
		if sizes, at := got.all(); !slices.Equal(sizes, []int{10, 10, 5}) || at[1] != 0 || at[2] != time.Minute {
			t.Errorf("batches of %v at %v", sizes, at)
		}
		emit(t, b, named("last", "user:1"))
		time.Sleep(time.Second)
		begin := time.Now()
		if err := b.Close(t.Context()); err != nil || time.Since(begin) > 0 {
			t.Errorf("Close took %v: %v", time.Since(begin), err)
		}
		if st := sub.Stats(); st.Handled != 26 {
			t.Errorf("after the shutdown: %+v", st)
		}
	})
}

// While the only event is being handled another one of its key comes: nothing waits then that it could hurry. When its turn comes, it
// waits for others like any other.
func TestABatchIsNotHurriedByWhatCameBeforeIt(t *testing.T) {
	got := batches{}
	s := bus.Subscription{
		Concurrency: 1, Timeout: time.Hour, Batch: bus.BatchConfig{MaxEvents: 10, MaxWait: time.Minute},
		BatchHandler: func(_ context.Context, events []schema.Event) []error {
			got.note(events)
			time.Sleep(10 * time.Minute)
			return nil
		},
	}
	pausable(t, inMemory, bus.Config{}, s, func(t *testing.T, b *bus.Bus, _ *bus.Sub) {
		got.begin = time.Now()
		start(t, b)
		emit(t, b, named("e1", "user:1"))
		time.Sleep(5 * time.Minute)
		emit(t, b, named("e2", "user:1"))
		time.Sleep(6*time.Minute + time.Second)
		emit(t, b, named("e3", "user:2"))
		time.Sleep(time.Hour)
		sizes, at := got.all()
		if !slices.Equal(sizes, []int{1, 2}) || at[1] != 12*time.Minute {
			t.Errorf("batches of %v at %v, want 1 and 2, the second after 12 minutes", sizes, at)
		}
	})
}

// Each event of a batch has the outcome that the handler says, and an error of the whole batch is each one's.
func TestEveryEventOfABatchHasItsOwnOutcome(t *testing.T) {
	for name, tt := range map[string]struct {
		first func(events []schema.Event) []error // at the first batch; later ones are handled
		want  bus.SubscriptionStats
	}{
		"one each": {func(events []schema.Event) []error {
			errs := make([]error, len(events))
			for i, e := range events {
				switch e.ID {
				case "e1":
					errs[i] = router.Permanent(errors.New("no"))
				case "e2":
					errs[i] = router.Drop(nil)
				case "e3":
					errs[i] = errors.New("not yet")
				case "e4":
					errs[i] = router.RetryAfter(nil, time.Hour)
				}
			}
			return errs
		}, bus.SubscriptionStats{Handled: 4, Failed: 1, Retries: 2}},
		"too few":  {func([]schema.Event) []error { return make([]error, 2) }, bus.SubscriptionStats{Handled: 6, Retries: 6}},
		"a panic":  {func([]schema.Event) []error { panic("no") }, bus.SubscriptionStats{Handled: 6, Retries: 6, Panics: 1}},
		"an end":   {func([]schema.Event) []error { runtime.Goexit(); return nil }, bus.SubscriptionStats{Handled: 5, Failed: 1, Retries: 5}},
		"all well": {func([]schema.Event) []error { return nil }, bus.SubscriptionStats{Handled: 6}},
	} {
		t.Run(name, func(t *testing.T) {
			var mu sync.Mutex
			seen := 0
			s := bus.Subscription{
				Concurrency: 1, Batch: bus.BatchConfig{MaxEvents: 6, MaxWait: time.Minute}, Retry: bus.RetryPolicy{Attempts: 3, MaxWait: 2 * time.Hour},
				BatchHandler: func(_ context.Context, events []schema.Event) []error {
					mu.Lock()
					seen++
					first := seen == 1
					mu.Unlock()
					if first {
						return tt.first(events)
					}
					return nil
				},
			}
			pausable(t, inMemory, bus.Config{}, s, func(t *testing.T, b *bus.Bus, sub *bus.Sub) {
				start(t, b)
				for i := range 6 {
					emit(t, b, named(fmt.Sprint("e", i), fmt.Sprint("user:", i)))
				}
				time.Sleep(24 * time.Hour)
				st := sub.Stats()
				if st.Handled != tt.want.Handled || st.Failed != tt.want.Failed || st.Retries != tt.want.Retries ||
					st.Panics != tt.want.Panics || st.InFlight != 0 || st.DeadLettered != st.Failed {
					t.Errorf("got %+v, want %+v", st, tt.want)
				}
			})
		})
	}
}

// Where the handler panics, that is the error of each event, also in its dead letter.
func TestAPanicIsTheErrorOfAWholeBatch(t *testing.T) {
	letters := deadletter.NewMemory(0, 0)
	bubble(t, inMemory, letters, []bus.Subscription{{
		Name: "s", Channels: []string{"x.all"}, Batch: bus.BatchConfig{MaxEvents: 3}, Retry: bus.RetryPolicy{Attempts: 1},
		BatchHandler: func(context.Context, []schema.Event) []error { panic("no row") },
	}}, func(t *testing.T, b *bus.Bus) {
		for i := range 3 {
			emit(t, b, named(fmt.Sprint("e", i), fmt.Sprint("user:", i)))
		}
		time.Sleep(time.Hour)
		got := lettersOf(t, letters)
		for _, l := range got {
			if l.Reason != deadletter.ReasonPanic || !strings.Contains(l.Error, "no row") {
				t.Errorf("a letter says %s: %s", l.Reason, l.Error)
			}
		}
		if st := b.Stats().Subscriptions["s"]; len(got) != 3 || st.Panics != 1 {
			t.Errorf("%d letters, %+v", len(got), st)
		}
	})
}

// With batches, priorities, several handlers, retries and pauses together: each key in its order, each event handled once, no
// batch over its bound or with two of a key, and no more batches at once than may be.
func TestBatchesKeepTheOrderOfEveryKey(t *testing.T) {
	const most, atOnce = 7, 3
	for seed := range uint64(10) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			var mu sync.Mutex
			r := rand.New(rand.NewPCG(seed, 2))
			order, running := make(map[string][]string), 0
			handler := func(_ context.Context, events []schema.Event) []error {
				mu.Lock()
				running++
				keys := make(map[string]bool)
				for _, e := range events {
					keys[e.Subject] = true
				}
				if running > atOnce || len(events) > most || len(keys) != len(events) {
					t.Errorf("%d at once, %d events, %d keys", running, len(events), len(keys))
				}
				d := time.Duration(r.IntN(20)) * time.Millisecond
				mu.Unlock()
				time.Sleep(d)
				mu.Lock()
				defer mu.Unlock()
				running--
				errs := make([]error, len(events))
				for i, e := range events {
					if r.IntN(4) == 0 {
						errs[i] = errors.New("not yet")
					} else {
						order[e.Subject] = append(order[e.Subject], e.ID)
					}
				}
				return errs
			}
			s := bus.Subscription{
				Concurrency: atOnce, Prefetch: 64, Batch: bus.BatchConfig{MaxEvents: most, MaxWait: 10 * time.Millisecond},
				BatchHandler: handler, Retry: bus.RetryPolicy{Attempts: 50, Backoff: bus.Backoff{Min: time.Millisecond, Max: 3 * time.Second}},
			}
			pausable(t, inMemory, bus.Config{}, s, func(t *testing.T, b *bus.Bus, sub *bus.Sub) {
				start(t, b)
				want := make(map[string][]string)
				for i := range 300 {
					e := named(fmt.Sprintf("e%03d", i), fmt.Sprint("user:", i*i%17))
					e.Priority = schema.Low + schema.Priority(i%4)
					want[e.Subject] = append(want[e.Subject], e.ID)
					emit(t, b, e)
					if i%50 == 0 {
						sub.Pause()
						time.Sleep(30 * time.Millisecond)
						sub.Resume()
					}
				}
				time.Sleep(24 * time.Hour)
				mu.Lock()
				defer mu.Unlock()
				for key, ids := range want {
					if !slices.Equal(order[key], ids) {
						t.Errorf("%s: %v, want %v", key, order[key], ids)
					}
				}
			})
		})
	}
}

// Where only later events of its keys could join, a batch does not wait for them.
func TestABatchDoesNotWaitForItsOwnKeys(t *testing.T) {
	var got batches
	s := bus.Subscription{
		Batch:        bus.BatchConfig{MaxWait: time.Minute},
		BatchHandler: func(_ context.Context, events []schema.Event) []error { got.note(events); return nil },
	}
	pausable(t, inMemory, bus.Config{}, s, func(t *testing.T, b *bus.Bus, sub *bus.Sub) {
		start(t, b)
		begin := time.Now()
		got.begin = begin
		for i := range 20 {
			emit(t, b, named(fmt.Sprint("e", i), "user:1"))
		}
		time.Sleep(time.Hour)
		if sizes, at := got.all(); len(sizes) != 20 || at[19] > 2*time.Minute {
			t.Errorf("batches of %v at %v", sizes, at)
		}
	})
}

// A BatchHandler that never returns is given up, and the batches after it are handled.
func TestABatchHandlerThatIsStuckMakesRoom(t *testing.T) {
	var mu sync.Mutex
	seen, release := 0, make(chan struct{})
	s := bus.Subscription{
		Concurrency: 1, Batch: bus.BatchConfig{MaxEvents: 2, MaxWait: time.Second}, Timeout: time.Minute, Stuck: bus.StuckPolicy{After: time.Minute},
		BatchHandler: func(context.Context, []schema.Event) []error {
			mu.Lock()
			seen++
			first := seen == 1
			mu.Unlock()
			if first {
				<-release
			}
			return nil
		},
	}
	pausable(t, inMemory, bus.Config{}, s, func(t *testing.T, b *bus.Bus, sub *bus.Sub) {
		release = make(chan struct{})
		start(t, b)
		for i := range 6 {
			emit(t, b, named(fmt.Sprint("e", i), fmt.Sprint("user:", i)))
		}
		time.Sleep(time.Hour)
		if st := sub.Stats(); st.Stuck != 2 || st.Failed != 2 || st.Handled != 4 {
			t.Errorf("got %+v", st)
		}
		close(release)
		time.Sleep(time.Second)
	})
}

func TestBatchesThatCannotBeMeantAreRefused(t *testing.T) {
	cfg, err := bus.ParseConfig([]byte("subscriptions:\n  s:\n    batch: {max_events: 20, max_wait: 1s}"))
	if got := cfg.Subscriptions["s"].Batch; err != nil || got != (bus.BatchConfig{MaxEvents: 20, MaxWait: time.Second}) {
		t.Errorf("read %+v, %v", got, err)
	}
	for text, want := range map[string]string{
		"subscriptions:\n  s:\n    batch: {max_event: 20}":  "line 3, column 13",
		"subscriptions:\n  s:\n    batch: {max_events: -1}": "line 3, column 25",
		"subscriptions:\n  s:\n    batch: {max_wait: 48h}":  "line 3, column 23",
	} {
		if _, err := bus.ParseConfig([]byte(text)); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "^") {
			t.Errorf("%q: got %v, want %s and a caret", text, err, want)
		}
	}
	w := newWorld(t)
	one := func(context.Context, schema.Event) error { return nil }
	many := func(context.Context, []schema.Event) []error { return nil }
	for want, s := range map[string]bus.Subscription{
		"beside Handler":   {Handler: one, BatchHandler: many},
		"no BatchHandler":  {Handler: one, Batch: bus.BatchConfig{MaxEvents: 2}},
		"it goes up to":    {BatchHandler: many, Concurrency: 1000},
		"Batch: max_event": {BatchHandler: many, Batch: bus.BatchConfig{MaxEvents: -1}},
	} {
		s.Name, s.Channels = "s", []string{"x.all"}
		if _, err := w.Subscribe(s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
