package bus_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/brokers/memory"
	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/router"
	"github.com/eventbus-go/eventbus/schema"
	"github.com/eventbus-go/eventbus/store/deadletter"
)

var (
	errDown = errors.New("the service is down")
	errPart = errors.New("another failure")
)

// A service is what a handler needs, and can be down.
type service struct {
	down  atomic.Bool
	start time.Time

	mu      sync.Mutex
	calls   []string
	running int
	most    int
	fail    func(e schema.Event) error // beside being down
}

func (s *service) handle(ctx context.Context, e schema.Event) error {
	s.mu.Lock()
	s.calls = append(s.calls, fmt.Sprintf("%s#%d@%v", e.ID, router.Attempt(ctx), time.Since(s.start).Round(time.Second)))
	s.running++
	s.most = max(s.most, s.running)
	s.mu.Unlock()
	time.Sleep(10 * time.Millisecond)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running--
	if s.fail != nil {
		if err := s.fail(e); err != nil {
			return err
		}
	}
	if s.down.Load() {
		return errDown
	}
	return nil
}

func (s *service) since() (calls []string, most int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	calls, most = s.calls, s.most
	s.calls, s.most = nil, 0
	return calls, most
}

var quick = bus.RetryPolicy{Attempts: 3, Backoff: bus.Backoff{Min: 100 * time.Millisecond, Max: 100 * time.Millisecond, NoJitter: true}}

// The service is down for ten minutes. Every event has three attempts within a second, and none is given up.
func TestABreakerPausesInsteadOfBurningAttempts(t *testing.T) {
	store, svc := deadletter.NewMemory(0, 0), &service{}
	bubble(t, inMemory, store, []bus.Subscription{{
		Name: "s", Channels: []string{"x.all", "x.a"}, Concurrency: 4, Retry: quick, Handler: svc.handle,
		Breaker: bus.BreakerPolicy{Failures: 5, Within: 10 * time.Second, Pause: 30 * time.Second},
	}}, func(t *testing.T, b *bus.Bus) {
		svc.start = time.Now()
		svc.down.Store(true)
		const events = 50
		for i := range events {
			emit(t, b, named(fmt.Sprint("e", i), fmt.Sprint("user:", i%20)))
		}
		time.Sleep(5 * time.Second)
		if calls, _ := svc.since(); len(calls) > 5+3 || subOf(b).Breaker != bus.BreakerOpen {
			t.Errorf("%d calls before it opened: %v; %+v", len(calls), calls, subOf(b))
		}
		time.Sleep(10 * time.Minute)
		calls, most := svc.since()
		if len(calls) < 15 || len(calls) > 21 || most != 1 {
			t.Errorf("%d calls within 10 minutes, %d at once, want one each 30 s: %v", len(calls), most, calls)
		}
		if st := subOf(b); st.Failed != 0 || st.Breaker != bus.BreakerOpen || st.BreakerOpened < 15 || len(lettersOf(t, store)) != 0 {
			t.Errorf("the books say %+v", st)
		}
		svc.down.Store(false)
		time.Sleep(time.Minute)
		calls, most = svc.since()
		if st := subOf(b); st.Handled != events || st.Failed != 0 || st.InFlight != 0 || st.Breaker != bus.BreakerClosed || most != 4 {
			t.Errorf("when it is back, %d at once: %+v", most, st)
		}
		for _, c := range calls {
			if strings.Contains(c, "#4") {
				t.Errorf("an attempt was counted that was not to be: %s", c)
			}
		}
	})
}

// An event that fails by itself opens it, is tried after the others, and so does not keep it open.
func TestAPoisonousEventDoesNotKeepABreakerOpen(t *testing.T) {
	store, svc := deadletter.NewMemory(0, 0), &service{}
	svc.fail = func(e schema.Event) error {
		if e.ID == "bad" {
			return errPart
		}
		return nil
	}
	bubble(t, inMemory, store, []bus.Subscription{{
		Name: "s", Channels: []string{"x.all"}, Concurrency: 1, Retry: quick, Handler: svc.handle,
		Breaker: bus.BreakerPolicy{Failures: 2, Pause: 30 * time.Second},
	}}, func(t *testing.T, b *bus.Bus) {
		emit(t, b, named("bad", "bad"))
		for i := range 5 {
			emit(t, b, named(fmt.Sprint("e", i), fmt.Sprint("user:", i)))
		}
		time.Sleep(5 * time.Minute)
		if st := subOf(b); st.Handled != 5 {
			t.Errorf("the others were not handled: %+v", st)
		}
	})
}

// An event fails by itself, and every failure of it opens the breaker. Others succeed in between, so that it is found out: from the
// second time on it uses up its attempts. It ends in the dead letters, and the breaker closed.
func TestAnEventThatOpensABreakerAgainAndAgainIsGivenUp(t *testing.T) {
	for _, failures := range []int{1, 2} {
		t.Run(fmt.Sprint(failures, " failures"), func(t *testing.T) {
			store, svc := deadletter.NewMemory(0, 0), &service{}
			svc.fail = func(e schema.Event) error {
				if e.ID == "bad" {
					return errPart
				}
				return nil
			}
			bubble(t, inMemory, store, []bus.Subscription{{
				Name: "s", Channels: []string{"x.all"}, Concurrency: 1, Retry: quick, Handler: svc.handle,
				Breaker: bus.BreakerPolicy{Failures: failures, Pause: 30 * time.Second},
			}}, func(t *testing.T, b *bus.Bus) {
				emit(t, b, named("bad", "bad"))
				const others = 10
				for i := range others {
					emit(t, b, named(fmt.Sprint("e", i), fmt.Sprint("user:", i)))
					time.Sleep(time.Minute)
				}
				st, got := subOf(b), lettersOf(t, store)
				if st.Handled != others || st.Failed != 1 || len(got) != 1 || got[0].EventID != "bad" || got[0].Attempts != quick.Attempts {
					t.Errorf("the books say %+v, and the letters %+v", st, got)
				}
				if st.Breaker != bus.BreakerClosed {
					t.Errorf("it has opened %d times, and is %v", st.BreakerOpened, st.Breaker)
				}
			})
		})
	}
}

// Nobody can tell an event that fails by itself from an outage while it is the only one: it keeps its one attempt for as long as it takes.
// Nor does an outage that is over for a moment, and back, take more than an attempt of an event.
func TestAnOutageGivesUpNoEventHoweverLongItIs(t *testing.T) {
	for _, tt := range []struct {
		name             string
		events, attempts int
		moments          int // that the service is back for, so that it closes
	}{
		{"one event of one attempt", 1, 1, 0},
		{"events of one key", 5, 1, 0},
		{"two moments, and events of three attempts", 5, 3, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			store, svc, retry := deadletter.NewMemory(0, 0), &service{}, quick
			retry.Attempts = tt.attempts
			handle := func(ctx context.Context, e schema.Event) error {
				if strings.HasPrefix(e.ID, "moment") {
					return nil
				}
				return svc.handle(ctx, e)
			}
			bubble(t, inMemory, store, []bus.Subscription{{
				Name: "s", Channels: []string{"x.all"}, Concurrency: 1, Retry: retry, Handler: handle,
				Breaker: bus.BreakerPolicy{Failures: 1, Pause: 30 * time.Second},
			}}, func(t *testing.T, b *bus.Bus) {
				svc.down.Store(true)
				for i := range tt.events {
					emit(t, b, named(fmt.Sprint("e", i), "one"))
				}
				for i := range tt.moments {
					time.Sleep(time.Hour)
					emit(t, b, named(fmt.Sprint("moment", i), "another"))
				}
				time.Sleep(12 * time.Hour)
				if st := subOf(b); st.Failed != 0 || st.Breaker == bus.BreakerClosed || len(lettersOf(t, store)) != 0 {
					t.Errorf("after 12 hours: %+v", st)
				}
				svc.down.Store(false)
				time.Sleep(time.Minute)
				if st := subOf(b); st.Failed != 0 || st.InFlight != 0 || st.Breaker != bus.BreakerClosed {
					t.Errorf("when it is back: %+v", st)
				}
			})
		})
	}
}

func TestWhichFailuresCount(t *testing.T) {
	isPart := bus.WithError("part", func(err error) bool { return errors.Is(err, errPart) })
	for _, tt := range []struct {
		name  string
		only  []string
		fail  func() error
		opens bool
	}{
		{"any error", nil, func() error { return errPart }, true},
		{"a panic", nil, func() error { panic("x") }, true},
		{"RetryAfter", nil, func() error { return bus.RetryAfter(errPart, 0) }, true},
		{"not Permanent", nil, func() error { return bus.Permanent(errPart) }, false},
		{"not Drop", nil, func() error { return bus.Drop(errPart) }, false},
		{"one that is named", []string{"timeout", "part"}, func() error { return errPart }, true},
		{"not another one", []string{"timeout"}, func() error { return errPart }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, err := bus.New(t.Context(), memory.New(), bus.Config{Config: testRules}, isPart)
				if err != nil {
					t.Fatal(err)
				}
				sub, err := b.Subscribe(bus.Subscription{
					Name: "s", Channels: []string{"x.all"}, Retry: bus.RetryPolicy{Attempts: 1},
					Breaker: bus.BreakerPolicy{Failures: 3, Only: tt.only},
					Handler: func(context.Context, schema.Event) error { return tt.fail() },
				})
				if err := errors.Join(err, b.Start(t.Context())); err != nil {
					t.Fatal(err)
				}
				for i := range 3 {
					emit(t, b, event("a.b", fmt.Sprint("user:", i)))
				}
				time.Sleep(time.Second)
				if st := sub.Stats(); (st.Breaker == bus.BreakerOpen) != tt.opens {
					t.Errorf("the books say %+v", st)
				}
				if err := b.Close(t.Context()); err != nil {
					t.Error(err)
				}
				if st := sub.Stats(); st.InFlight != 0 || !st.Balanced() {
					t.Errorf("after Close: %+v", st)
				}
			})
		})
	}
}

// Failures that are far apart are none that an outage makes.
func TestABreakerForgetsOldFailures(t *testing.T) {
	svc := &service{}
	svc.down.Store(true)
	bubble(t, inMemory, deadletter.NewMemory(0, 0), []bus.Subscription{{
		Name: "s", Channels: []string{"x.all"}, Retry: bus.RetryPolicy{Attempts: 1}, Handler: svc.handle,
		Breaker: bus.BreakerPolicy{Failures: 3, Within: 10 * time.Second},
	}}, func(t *testing.T, b *bus.Bus) {
		for i := range 20 {
			emit(t, b, event("a.b", fmt.Sprint("user:", i)))
			time.Sleep(6 * time.Second)
		}
		if st := subOf(b); st.Failed != 20 || st.BreakerOpened != 0 {
			t.Errorf("the books say %+v", st)
		}
	})
}

func TestEachChangeOfABreakerIsToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var told []string
		hook := bus.WithHooks(bus.Hooks{Breaker: func(c bus.BreakerChange) {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, fmt.Sprintf("%s %v>%v %v", c.Subscription, c.From, c.To, c.Err))
			if (c.To == bus.BreakerOpen) != (c.EventID != "") {
				t.Errorf("the event of %+v", c)
			}
		}})
		b, err := bus.New(t.Context(), memory.New(), bus.Config{Config: testRules}, hook)
		if err != nil {
			t.Fatal(err)
		}
		svc := &service{start: time.Now()}
		_, err = b.Subscribe(bus.Subscription{
			Name: "s", Channels: []string{"x.all"}, Retry: quick, Handler: svc.handle, Breaker: bus.BreakerPolicy{Failures: 2, Pause: time.Minute},
		})
		if err := errors.Join(err, b.Start(t.Context())); err != nil {
			t.Fatal(err)
		}
		svc.down.Store(true)
		for i := range 10 {
			emit(t, b, event("a.b", fmt.Sprint("user:", i)))
		}
		time.Sleep(90 * time.Second)
		svc.down.Store(false)
		time.Sleep(90 * time.Second)
		if err := b.Close(t.Context()); err != nil {
			t.Error(err)
		}
		want := []string{
			"s closed>open the service is down", "s open>half_open <nil>", "s half_open>open the service is down",
			"s open>half_open <nil>", "s half_open>closed <nil>",
		}
		if !slices.Equal(told, want) {
			t.Errorf("told %v", told)
		}
	})
}

// What tries, and does not return, has failed.
func TestAProbeThatHangsOpensTheBreakerAgain(t *testing.T) {
	var release chan struct{}
	var hang atomic.Bool
	start := func() brokers.Conn { release = make(chan struct{}); return memory.New() }
	bubble(t, start, deadletter.NewMemory(0, 0), []bus.Subscription{{
		Name: "s", Channels: []string{"x.all"}, Concurrency: 2, Retry: quick, Timeout: time.Second, Stuck: bus.StuckPolicy{After: time.Second},
		Breaker: bus.BreakerPolicy{Failures: 2, Pause: time.Minute},
		Handler: func(context.Context, schema.Event) error {
			if hang.Load() {
				<-release
				return nil
			}
			return errDown
		},
	}}, func(t *testing.T, b *bus.Bus) {
		for i := range 5 {
			emit(t, b, event("a.b", fmt.Sprint("user:", i)))
		}
		time.Sleep(time.Second)
		hang.Store(true)
		time.Sleep(63 * time.Second)
		if st := subOf(b); st.Breaker != bus.BreakerOpen || st.BreakerOpened != 2 || st.Stuck != 1 {
			t.Errorf("the books say %+v", st)
		}
		hang.Store(false)
		close(release)
		time.Sleep(time.Second)
	})
}

// A shutdown ends the pause: what the broker keeps is given back.
func TestAShutdownDoesNotWaitForABreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, err := bus.New(t.Context(), kept(), bus.Config{Config: testRules})
		if err != nil {
			t.Fatal(err)
		}
		svc := &service{}
		svc.down.Store(true)
		sub, err := b.Subscribe(bus.Subscription{
			Name: "s", Channels: []string{"x.all"}, Group: "g", Retry: quick, Handler: svc.handle, Breaker: bus.BreakerPolicy{Failures: 2, Pause: time.Hour},
		})
		if err := errors.Join(err, b.Start(t.Context())); err != nil {
			t.Fatal(err)
		}
		for i := range 20 {
			emit(t, b, event("a.b", fmt.Sprint("user:", i%7)))
		}
		time.Sleep(time.Minute)
		began := time.Now()
		if err := b.Close(t.Context()); err != nil || time.Since(began) > time.Second {
			t.Errorf("after %v Close returned %v", time.Since(began), err)
		}
		if st := sub.Stats(); st.Redelivered != 20 || st.Failed != 0 || !st.Balanced() {
			t.Errorf("the books say %+v", st)
		}
	})
}

func TestBreakerPoliciesAreReadAndWritten(t *testing.T) {
	for text, want := range map[string]bus.BreakerPolicy{
		"5 failures in 10s, pause 30s":                {Failures: 5, Within: 10 * time.Second, Pause: 30 * time.Second},
		"5 failures in 1m":                            {Failures: 5, Within: time.Minute},
		"only a or b, pause 1s ,  2 failures in  10s": {Failures: 2, Within: 10 * time.Second, Pause: time.Second, Only: []string{"a", "b"}},
		"5 failures in 10s, give up 24h, only a":      {Failures: 5, Within: 10 * time.Second, GiveUp: 24 * time.Hour, Only: []string{"a"}},
		"off":                                         bus.NoBreaker,
	} {
		got, err := bus.ParseBreakerPolicy(text)
		if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
		again, err := bus.ParseBreakerPolicy(got.Text())
		if err != nil || again.Failures != want.Failures || again.Within != want.Within || again.GiveUp != want.GiveUp || !slices.Equal(again.Only, want.Only) {
			t.Errorf("%q is written as %q and read as %+v, %v", text, got.Text(), again, err)
		}
	}
	for _, text := range []string{
		"", "often", "5 failures", "0 failures in 10s", "5 failures in 0s", "pause 30s", "5 failures in 10s, pause -1s",
		"5 failures in 10s, 6 failures in 10s", "5 failures in 10s, only ",
		"5 failures in 10s, give up never", "5 failures in 10s, give up 1h, give up 2h", "5 failures in 10s, pause 1m, give up 59s",
		"99999 failures in 10s",
	} {
		if p, err := bus.ParseBreakerPolicy(text); err == nil {
			t.Errorf("%q: %+v", text, p)
		}
	}
}

// An operator has the last word, and an error that the program does not have is refused.
func TestAFileSetsTheLimitsOfASubscription(t *testing.T) {
	cfg, err := bus.ParseConfig([]byte("subscriptions:\n  s:\n    rate: off\n    breaker: 2 failures in 5s, pause 1m, only declind\n    stuck: never"))
	if err != nil {
		t.Fatal(err)
	}
	cfg.Config = testRules
	b, err := bus.New(t.Context(), memory.New(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close(ended())
	_, err = b.Subscribe(bus.Subscription{Name: "s", Channels: []string{"x.all"}, Handler: func(context.Context, schema.Event) error { return nil }})
	if err == nil || !strings.Contains(err.Error(), `"declind"`) || !strings.Contains(err.Error(), "WithError") {
		t.Errorf("got %v", err)
	}
	for text, want := range map[string]string{
		"rate: fast":           "line 3, column 11",
		"breaker: 5 times":     "line 3, column 14",
		"stuck: sometimes":     "line 3, column 12",
		"breakers: 5 failures": "line 3, column 5",
	} {
		_, err := bus.ParseConfig([]byte("subscriptions:\n  s:\n    " + text))
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "^") {
			t.Errorf("%q: got %v, want %s and a caret", text, err, want)
		}
	}
}

// The pause of an open breaker ends while a shutdown waits for a handler: nothing changes any more, and no hook is called.
func TestABreakerChangesNoMoreInAShutdown(t *testing.T) {
	var mu sync.Mutex
	var told []string
	hook := bus.WithHooks(bus.Hooks{Breaker: func(c bus.BreakerChange) {
		mu.Lock()
		defer mu.Unlock()
		told = append(told, c.To.String())
	}})
	bubble(t, inMemory, deadletter.NewMemory(0, 0), []bus.Subscription{{
		Name: "s", Channels: []string{"x.all"}, Concurrency: 2, Retry: bus.RetryPolicy{Attempts: 1}, Timeout: time.Hour,
		Breaker: bus.BreakerPolicy{Failures: 1, Pause: 10 * time.Second},
		Handler: func(_ context.Context, e schema.Event) error {
			if e.ID == "long" {
				time.Sleep(time.Minute)
				return nil
			}
			return errDown
		},
	}}, func(t *testing.T, b *bus.Bus) {
		emit(t, b, named("long", "user:1"), named("bad", "user:2"))
		time.Sleep(time.Second)
		if err := b.Close(t.Context()); err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		if !slices.Equal(told, []string{"open"}) {
			t.Errorf("the hook was told %q", told)
		}
	}, hook)
}
