package bus_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/brokers/memory"
	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/router"
	"github.com/eventbus-go/eventbus/schema"
)

// A recording is what a handler was given.
type recording struct {
	mu   sync.Mutex
	seen []string // id#attempt
}

func (r *recording) handle(ctx context.Context, e schema.Event) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen = append(r.seen, fmt.Sprintf("%s#%d", e.ID, router.Attempt(ctx)))
	return nil
}

func (r *recording) all() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.seen)
}

// pausable runs test with a bus that has one subscription.
func pausable(t *testing.T, conn func() brokers.Conn, cfg bus.Config, s bus.Subscription, test func(*testing.T, *bus.Bus, *bus.Sub)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		cfg.Config = testRules
		b, err := bus.New(t.Context(), conn(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		s.Name, s.Channels = "s", []string{"x.all"}
		sub, err := b.Subscribe(s)
		if err != nil {
			t.Fatal(err)
		}
		test(t, b, sub)
		if err := b.Close(t.Context()); err != nil {
			t.Errorf("Close: %v", err)
		}
		if st := sub.Stats(); !st.Balanced() || st.InFlight != 0 {
			t.Errorf("the books do not balance: %+v", st)
		}
	})
}

func start(t *testing.T, b *bus.Bus) {
	t.Helper()
	if err := b.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// A subscription that is paused, before Run or by its configuration, holds what it may and no more, for as long as it lasts;
// when it is resumed every event is handled in its first attempt, in order.
func TestWhatIsPausedHandsOutNothingAndLosesNothing(t *testing.T) {
	for name, tt := range map[string]struct {
		cfg   bus.Config
		sub   bus.Subscription
		pause bool
	}{
		"by Pause":             {pause: true},
		"by the code":          {sub: bus.Subscription{Paused: true}},
		"by the configuration": {cfg: bus.Config{Subscriptions: map[string]bus.SubscriptionConfig{"s": {Paused: true}}}},
	} {
		t.Run(name, func(t *testing.T) {
			var got recording
			s := tt.sub
			s.Handler, s.Prefetch, s.Concurrency, s.Group = got.handle, 10, 3, "g"
			pausable(t, inMemory, tt.cfg, s, func(t *testing.T, b *bus.Bus, sub *bus.Sub) {
				if tt.pause {
					sub.Pause()
					sub.Pause()
				}
				start(t, b)
				var want []string
				for i := range 50 {
					emit(t, b, named(fmt.Sprint("e", i), "user:1"))
					want = append(want, fmt.Sprintf("e%d#1", i))
				}
				time.Sleep(24 * time.Hour)
				st := sub.Stats()
				if len(got.all()) != 0 || !st.Paused || st.InFlight < 10 || st.InFlight > 11 || st.Redelivered != 0 {
					t.Errorf("paused: %v, %+v", got.all(), st)
				}
				sub.Resume()
				sub.Resume()
				time.Sleep(time.Second)
				if st := sub.Stats(); !slices.Equal(got.all(), want) || st.Paused || st.Handled != 50 {
					t.Errorf("resumed: %v, %+v", got.all(), st)
				}
			})
		})
	}
}

// What is being handled when the subscription is paused goes on to its end, and what waits for an attempt waits for Resume.
func TestAPauseInterruptsNoHandler(t *testing.T) {
	var got recording
	s := bus.Subscription{Concurrency: 2, Handler: func(ctx context.Context, e schema.Event) error {
		_ = got.handle(ctx, e)
		time.Sleep(time.Minute)
		if e.ID == "fails" && router.Attempt(ctx) == 1 {
			return router.RetryAfter(nil, time.Hour)
		}
		return nil
	}, Timeout: bus.NoTimeout, Retry: bus.RetryPolicy{MaxWait: 2 * time.Hour}}
	pausable(t, inMemory, bus.Config{}, s, func(t *testing.T, b *bus.Bus, sub *bus.Sub) {
		start(t, b)
		emit(t, b, named("fails", "user:1"), named("works", "user:2"))
		time.Sleep(time.Second) // both workers are at work before the next one comes: keys have no order between them
		emit(t, b, named("waits", "user:3"))
		time.Sleep(time.Second)
		sub.Pause()
		time.Sleep(24 * time.Hour)
		if st := sub.Stats(); st.Handled != 1 || st.InFlight != 2 || len(got.all()) != 2 {
			t.Errorf("paused: %v, %+v", got.all(), st)
		}
		sub.Resume()
		time.Sleep(time.Hour)
		if seen := got.all(); !slices.Contains(seen, "fails#2") || !slices.Contains(seen, "waits#1") || len(seen) != 4 {
			t.Errorf("resumed: %v", seen)
		}
	})
}

// A shutdown handles nothing of what is paused, and waits for nothing: what is held goes back, or is counted as dropped.
func TestAShutdownGivesBackWhatIsPaused(t *testing.T) {
	for name, tt := range map[string]struct {
		conn          func() brokers.Conn
		back, dropped int64
	}{
		"a broker that takes events back": {inMemory, 5, 0},
		"a broker that does not":          {func() brokers.Conn { return unsettled{memory.New()} }, 0, 5},
	} {
		t.Run(name, func(t *testing.T) {
			var got recording
			s := bus.Subscription{Handler: got.handle, Paused: true}
			pausable(t, tt.conn, bus.Config{}, s, func(t *testing.T, b *bus.Bus, sub *bus.Sub) {
				start(t, b)
				for i := range 5 {
					emit(t, b, named(fmt.Sprint("e", i), fmt.Sprint("user:", i%2)))
				}
				time.Sleep(time.Hour)
				begin := time.Now()
				if err := b.Close(t.Context()); err != nil {
					t.Error(err)
				}
				st := sub.Stats()
				if took := time.Since(begin); took > time.Second || len(got.all()) != 0 || st.Redelivered != tt.back ||
					st.Dropped[bus.DropShutdown] != tt.dropped {
					t.Errorf("after %v: %v, %+v", took, got.all(), st)
				}
			})
		})
	}
}

// At any moment, from any goroutine: nothing is lost, handled twice, or out of order.
func TestPausesAtRandomTimesChangeNothing(t *testing.T) {
	var mu sync.Mutex
	order := make(map[string][]string)
	s := bus.Subscription{Concurrency: 4, Prefetch: 32, Handler: func(_ context.Context, e schema.Event) error {
		mu.Lock()
		order[e.Subject] = append(order[e.Subject], e.ID)
		mu.Unlock()
		time.Sleep(time.Duration(rand.IntN(3)) * time.Millisecond)
		return nil
	}}
	pausable(t, inMemory, bus.Config{}, s, func(t *testing.T, b *bus.Bus, sub *bus.Sub) {
		start(t, b)
		stop := make(chan struct{})
		var pausers sync.WaitGroup
		for range 3 {
			pausers.Go(func() {
				for {
					select {
					case <-stop:
						return
					case <-time.After(time.Duration(rand.IntN(5000)) * time.Microsecond):
					}
					if rand.IntN(2) == 0 {
						sub.Pause()
					} else {
						sub.Resume()
					}
				}
			})
		}
		want := make(map[string][]string)
		for i := range 2000 {
			e := named(fmt.Sprintf("e%04d", i), fmt.Sprint("user:", i%20))
			e.Priority = schema.Low + schema.Priority(rand.IntN(4))
			want[e.Subject] = append(want[e.Subject], e.ID)
			emit(t, b, e)
		}
		time.Sleep(time.Minute)
		close(stop)
		pausers.Wait()
		sub.Resume()
		time.Sleep(time.Minute)
		mu.Lock()
		defer mu.Unlock()
		for key, ids := range want {
			if !slices.Equal(order[key], ids) {
				t.Errorf("%s: %v", key, order[key])
			}
		}
	})
}

func TestPrioritiesAndPausesInAFile(t *testing.T) {
	cfg, err := bus.ParseConfig([]byte("subscriptions:\n  s:\n    priorities: off\n    paused: true"))
	if err != nil {
		t.Fatal(err)
	}
	if s := cfg.Subscriptions["s"]; s.Priorities != bus.PrioritiesOff || !s.Paused {
		t.Errorf("read %+v", s)
	}
	for text, want := range map[string]string{
		"subscriptions:\n  s:\n    priorities: sometimes": `line 3, column 17: priorities are on or off, not "sometimes"`,
		"subscriptions:\n  s:\n    paused: maybe":         "line 3, column 13",
		"subscriptions:\n  s:\n    pause: true":           "line 3, column 5",
	} {
		if _, err := bus.ParseConfig([]byte(text)); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "^") {
			t.Errorf("%q: got %v, want %s and a caret", text, err, want)
		}
	}
}
