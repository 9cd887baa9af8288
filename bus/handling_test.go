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
	"sync/atomic"
	"testing"
	"time"

	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/router/middleware"
	"github.com/eventbus-go/eventbus/schema"
)

func TestHandlersOfOneSubscriptionRunUpToNAtOnceAndNeverTwoOfOneKey(t *testing.T) {
	w := newWorld(t)
	const workers, keys, events = 5, 40, 4000
	var mu sync.Mutex
	running, most, full := map[string]int{}, 0, make(chan struct{}) // closed once as many run as may
	order := map[string][]string{}
	sub := w.subscribe(bus.Subscription{
		Name: "s", Channels: []string{"x.all"}, Concurrency: workers,
		Handler: func(ctx context.Context, e schema.Event) error {
			mu.Lock()
			running[e.Subject]++
			if running[e.Subject] > 1 {
				t.Errorf("two handlers of %s run at once", e.Subject)
			}
			n := 0
			for _, r := range running {
				n += r
			}
			if n == workers && most < workers {
				close(full)
			}
			most = max(most, n)
			order[e.Subject] = append(order[e.Subject], e.ID)
			mu.Unlock()
			<-full
			time.Sleep(time.Duration(rand.IntN(100)) * time.Microsecond)
			mu.Lock()
			running[e.Subject]--
			mu.Unlock()
			return nil
		},
	})
	w.run()
	want := map[string][]string{}
	for i := range events {
		e := event("a.b", fmt.Sprintf("user:%d", rand.IntN(keys)))
		e.ID = fmt.Sprintf("id-%d", i)
		want[e.Subject] = append(want[e.Subject], e.ID)
		w.emit(e)
	}
	w.until("everything handled", func() bool { return sub.Stats().Handled == events })
	w.close()
	for key := range want {
		if !slices.Equal(order[key], want[key]) {
			t.Errorf("%s was handled in the order %v, want %v", key, order[key], want[key])
		}
	}
	if most != workers {
		t.Errorf("at most %d handlers ran at once, want %d", most, workers)
	}
}

func TestASlowKeyHoldsUpNoOther(t *testing.T) {
	w := newWorld(t)
	slow, others := make(chan struct{}), atomic.Int64{}
	w.subscribe(bus.Subscription{
		Name: "s", Channels: []string{"x.all"}, Concurrency: 2,
		Handler: func(ctx context.Context, e schema.Event) error {
			if e.Subject == "slow" {
				<-slow
			} else {
				others.Add(1)
			}
			return nil
		},
	})
	w.run()
	for i := range 1000 {
		if i%10 == 0 && i < 500 { // 50 of them: they wait for each other, in one worker
			w.emit(event("a.b", "slow"))
		}
		w.emit(event("a.b", fmt.Sprint("fast:", i)))
	}
	w.until("the others handled while the slow key waits", func() bool { return others.Load() == 1000 })
	close(slow)
	w.close()
}

func TestAnEventThatArrivesOnSeveralChannelsIsHandledOnce(t *testing.T) {
	w := newWorld(t)
	var handled sync.Map
	sub := w.subscribe(bus.Subscription{
		Name: "s", Channels: []string{"x.*"},
		Handler: func(ctx context.Context, e schema.Event) error {
			if _, again := handled.LoadOrStore(e.ID, true); again {
				t.Errorf("%s was handled twice", e.ID)
			}
			return nil
		},
	})
	w.run()
	for i := range 1000 {
		w.emit(event("a.b", fmt.Sprint("user:", i%7)))
	}
	w.until("all copies received", func() bool { st := sub.Stats(); return st.Handled+st.Duplicate == 2000 })
	w.close()
	if st := sub.Stats(); st.Handled != 1000 || st.Duplicate != 1000 {
		t.Errorf("1,000 events on two channels each: %+v", st)
	}
}

func TestASecondCopyWaitsForTheOutcomeOfTheFirst(t *testing.T) {
	// Suppose that a copy with another subject, and so another key, arrives while the first is being handled: it is no new
	// event, but whether it has been handled is not known before the first has returned.
	w := newWorld(t)
	first, entered := make(chan struct{}), make(chan string, 10)
	sub := w.subscribe(bus.Subscription{
		Name: "s", Channels: []string{"x.*"},
		Handler: func(ctx context.Context, e schema.Event) error {
			entered <- e.Subject
			if e.ID == "1" {
				<-first
			}
			return nil
		},
	})
	w.run()
	send := func(id, subject string) {
		e := event("c.d", subject) // only to x.all
		e.ID = id
		w.emit(e)
	}
	send("1", "user:1")
	<-entered
	send("1", "user:2")
	send("2", "user:2") // of the same key as the copy
	if got := <-entered; got != "user:2" {
		t.Fatalf("%s was handled; the copy must not hold up its key", got)
	}
	if st := sub.Stats(); st.Duplicate != 0 {
		t.Errorf("the copy was settled before the first one's outcome was known")
	}
	close(first)
	w.until("the copy settled", func() bool { return sub.Stats().Duplicate == 1 })
	w.close()
	if st := sub.Stats(); st.Handled != 2 {
		t.Errorf("handled %d, want 2", st.Handled)
	}
}

func TestWhatAHandlerReturnsIsWhatItGets(t *testing.T) {
	boom := errors.New("boom")
	for _, test := range []struct {
		name     string
		err      error
		attempts int64
		count    func(bus.SubscriptionStats) int64
		failed   bool
	}{
		{"nil settles", nil, 1, func(s bus.SubscriptionStats) int64 { return s.Handled }, false},
		{"any error is retried", boom, 3, func(s bus.SubscriptionStats) int64 { return s.Failed }, true},
		{"Permanent is not", bus.Permanent(boom), 1, func(s bus.SubscriptionStats) int64 { return s.Failed }, true},
		{"not even deep inside", fmt.Errorf("deep: %w", bus.Permanent(boom)), 1, func(s bus.SubscriptionStats) int64 { return s.Failed }, true},
		{"Drop is counted as dropped", bus.Drop(boom), 1, func(s bus.SubscriptionStats) int64 { return s.Dropped[bus.DropByHandler] }, false},
		{"RetryAfter is retried", bus.RetryAfter(boom, time.Millisecond), 3, func(s bus.SubscriptionStats) int64 { return s.Failed }, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			hook := make(chan bus.Failed, 10)
			w := newWorld(t, bus.WithHooks(bus.Hooks{Failed: func(f bus.Failed) { hook <- f }}))
			var attempts atomic.Int64
			sub := w.subscribe(bus.Subscription{
				Name: "s", Channels: []string{"x.all"},
				Retry: middleware.Policy{Attempts: 3, Backoff: middleware.Backoff{Min: time.Microsecond, Max: time.Microsecond}},
				Handler: func(context.Context, schema.Event) error {
					attempts.Add(1)
					return test.err
				},
			})
			w.run()
			w.emit(event("a.b", "user:1"))
			w.until("the event settled", func() bool { return test.count(sub.Stats()) == 1 })
			w.close()
			if got := attempts.Load(); got != test.attempts || sub.Stats().Retries != got-1 {
				t.Errorf("%d attempts and %d retries, want %d attempts", got, sub.Stats().Retries, test.attempts)
			}
			if !test.failed {
				if len(hook) > 0 {
					t.Error("the Failed hook was called")
				}
				return
			}
			f := <-hook
			if f.Subscription != "s" || f.Channel != "x.all" || f.Attempts != int(test.attempts) || !errors.Is(f.Err, boom) || f.Event.Type != "a.b" {
				t.Errorf("the Failed hook was told %+v", f)
			}
		})
	}
}

var nilMap map[string]int

func TestPanicsAreContainedCountedAndTheirStackLoggedOnce(t *testing.T) {
	var hooks atomic.Int64
	w := newWorld(t, bus.WithHooks(bus.Hooks{
		Failed:    func(bus.Failed) { hooks.Add(1); panic("in the Failed hook") },
		Malformed: func(bus.Malformed) { hooks.Add(1); panic("in the Malformed hook") },
	}))
	sub := w.subscribe(bus.Subscription{
		Name: "s", Channels: []string{"x.all"}, Retry: middleware.Policy{Attempts: 1},
		Handler: func(_ context.Context, e schema.Event) error {
			switch e.Subject {
			case "nil map":
				nilMap["a"] = 1
			case "value":
				panic(e.Subject)
			case "goexit":
				runtime.Goexit()
			}
			return nil
		},
	})
	w.run()
	for range 20 {
		for _, subject := range []string{"nil map", "value", "goexit", "fine"} {
			w.emit(event("a.b", subject))
		}
	}
	w.inject("x.all", "{")
	w.until("everything settled", func() bool {
		st := sub.Stats()
		return st.Handled == 20 && st.Failed == 60 && total(st.Malformed) == 1
	})
	w.close()
	if st := sub.Stats(); st.Panics != 40 {
		t.Errorf("%d panics of the handler counted, want 40", st.Panics)
	}
	if got := w.Stats().Panics; got != 61 || hooks.Load() != 61 {
		t.Errorf("%d panics of hooks counted, want 61 for %d calls", got, hooks.Load())
	}
	if n := strings.Count(w.log.String(), " stack="); n != 3 {
		t.Errorf("%d stacks were logged, want one for each of three places:\n%s", n, w.log)
	}
}

func TestSubscribeRefusesWithEveryReasonAtOnce(t *testing.T) {
	w := newWorld(t)
	handler := func(context.Context, schema.Event) error { return nil }
	w.subscribe(bus.Subscription{Name: "taken", Channels: []string{"x.a"}, Handler: handler})
	for name, test := range map[string]struct {
		sub  bus.Subscription
		want []string
	}{
		"nothing set":       {bus.Subscription{}, []string{"there is no Name", "there is no handler", "nothing is subscribed to"}},
		"taken name":        {bus.Subscription{Name: "taken", Channels: []string{"x.a"}, Handler: handler}, []string{`"taken"`, "unique"}},
		"bad pattern":       {bus.Subscription{Name: "s", Channels: []string{"x..a"}, Handler: handler}, []string{"Channels[0]"}},
		"no common channel": {bus.Subscription{Name: "s", Events: []string{"Nope"}, Handler: handler}, []string{"Events[0]"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := w.Subscribe(test.sub)
			for _, want := range test.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("refused with %v, want it to say %q", err, want)
				}
			}
		})
	}
	w.run()
	if _, err := w.Subscribe(bus.Subscription{Name: "late", Channels: []string{"x.a"}, Handler: handler}); err == nil {
		t.Error("a subscription was added to a running bus, where it would never receive anything")
	}
	if err := w.Run(t.Context()); !errors.Is(err, bus.ErrRunning) {
		t.Errorf("a second Run returned %v, want ErrRunning", err)
	}
}

func TestASubscriptionByEventTypeTakesTheNarrowestChannelAndFiltersIt(t *testing.T) {
	w := newWorld(t)
	var seen sync.Map
	handler := func(_ context.Context, e schema.Event) error { seen.Store(e.Type, true); return nil }
	narrow := w.subscribe(bus.Subscription{Name: "narrow", Events: []string{"a.b"}, Handler: handler})
	wide := w.subscribe(bus.Subscription{Name: "wide", Events: []string{"a.b", "b.b"}, Handler: handler})
	if got := narrow.Channels(); !slices.Equal(got, []string{"x.a"}) {
		t.Errorf("a.b is read from %v, want x.a", got)
	}
	if got := wide.Channels(); !slices.Equal(got, []string{"x.all"}) {
		t.Errorf("a.b and b.b are read from %v, want x.all", got)
	}
	w.run()
	for _, typ := range []string{"a.b", "a.c", "b.b", "c.c"} {
		w.emit(event(typ, "user:1"))
	}
	w.until("everything received", func() bool { return narrow.Stats().Received == 2 && wide.Stats().Received == 4 })
	w.close()
	if n, wd := narrow.Stats(), wide.Stats(); n.Handled != 1 || n.Filtered != 1 || wd.Handled != 2 || wd.Filtered != 2 {
		t.Errorf("narrow: %+v, wide: %+v", n, wd)
	}
	got := slices.Sorted(func(yield func(string) bool) { seen.Range(func(k, _ any) bool { return yield(k.(string)) }) })
	if !slices.Equal(got, []string{"a.b", "b.b"}) {
		t.Errorf("handled %v", got)
	}
}
