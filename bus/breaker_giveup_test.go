package bus_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eventbus-go/eventbus/brokers/memory"
	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/schema"
	"github.com/eventbus-go/eventbus/store/deadletter"
)

// giveUp is a breaker that has patience for two hours.
var giveUp = bus.BreakerPolicy{Failures: 1, Pause: 30 * time.Second, GiveUp: 2 * time.Hour}

// failsFor makes the handler fail for the events of some ids, whatever the service does.
func failsFor(ids ...string) func(schema.Event) error {
	return func(e schema.Event) error {
		for _, id := range ids {
			if e.ID == id {
				return errPart
			}
		}
		return nil
	}
}

// An event fails by itself, and all others are of its key. Nobody can tell it from an outage; after two hours it is given up, once, and
// the others go on.
func TestAnEventThatFailsAloneUnderABreakerIsGivenUpInTheEnd(t *testing.T) {
	store, svc := deadletter.NewMemory(0, 0), &service{fail: failsFor("bad")}
	bubble(t, inMemory, store, []bus.Subscription{{
		Name: "s", Channels: []string{"x.all"}, Concurrency: 4, Retry: quick, Handler: svc.handle, Breaker: giveUp,
	}}, func(t *testing.T, b *bus.Bus) {
		emit(t, b, named("bad", "one"))
		for i := range 3 {
			emit(t, b, named(fmt.Sprint("e", i), "one"))
		}
		time.Sleep(2*time.Hour - time.Minute)
		if st := subOf(b); st.Failed != 0 || st.Handled != 0 || len(lettersOf(t, store)) != 0 {
			t.Errorf("before its time: %+v", st)
		}
		time.Sleep(3 * time.Minute)
		st, got := subOf(b), lettersOf(t, store)
		if st.Failed != 1 || st.Handled != 3 || st.InFlight != 0 || st.Breaker != bus.BreakerClosed {
			t.Errorf("after its time: %+v", st)
		}
		if len(got) != 1 || got[0].EventID != "bad" || got[0].Reason != deadletter.ReasonBreaker || got[0].Attempts != 1 ||
			!strings.Contains(got[0].Error, errPart.Error()) {
			t.Errorf("the letters are %+v", got)
		}
	})
}

// An outage is longer than the patience. What is given up is one event in each pause, and the one that has waited for longest.
func TestALongOutageGivesUpAnEventInEachPause(t *testing.T) {
	store, svc := deadletter.NewMemory(0, 0), &service{}
	bubble(t, inMemory, store, []bus.Subscription{{
		Name: "s", Channels: []string{"x.all"}, Concurrency: 4, Retry: quick, Handler: svc.handle, Breaker: giveUp,
	}}, func(t *testing.T, b *bus.Bus) {
		svc.down.Store(true)
		const events = 20
		for i := range events {
			emit(t, b, named(fmt.Sprint("e", i), fmt.Sprint("user:", i)))
		}
		time.Sleep(2 * time.Hour)
		if st := subOf(b); st.Failed > 1 {
			t.Errorf("before its time: %+v", st)
		}
		time.Sleep(5 * time.Minute)
		if st := subOf(b); st.Failed == 0 || st.Failed > 11 || st.Breaker == bus.BreakerClosed {
			t.Errorf("five minutes later: %+v", st)
		}
		svc.down.Store(false)
		time.Sleep(time.Minute)
		if st := subOf(b); st.Handled+st.Failed != events || int(st.Failed) != len(lettersOf(t, store)) || st.Breaker != bus.BreakerClosed {
			t.Errorf("when it is back: %+v", st)
		}
	})
}

// What counts is how long an event has failed without using up an attempt: one that others have shown to be its own failure uses up its
// attempts, and its time begins anew.
func TestTheTimeOfAnEventBeginsAnewWithAnAttempt(t *testing.T) {
	store, svc := deadletter.NewMemory(0, 0), &service{fail: failsFor("bad")}
	bubble(t, inMemory, store, []bus.Subscription{{
		Name: "s", Channels: []string{"x.all"}, Concurrency: 1, Retry: quick, Handler: svc.handle, Breaker: giveUp,
	}}, func(t *testing.T, b *bus.Bus) {
		emit(t, b, named("bad", "one"))
		time.Sleep(90 * time.Minute)
		emit(t, b, named("good", "another"))
		time.Sleep(90 * time.Minute)
		if st := subOf(b); st.Handled != 1 || st.Failed != 0 {
			t.Errorf("an hour and a half after its attempt: %+v", st)
		}
		time.Sleep(32 * time.Minute)
		if got := lettersOf(t, store); len(got) != 1 || got[0].Reason != deadletter.ReasonBreaker || got[0].Attempts != 2 {
			t.Errorf("two hours after its attempt: %+v, %+v", subOf(b), got)
		}
	})
}

// Who is on call sees whether it is one event, or all of them.
func TestABreakerTellsHowOftenItsEventHasFailed(t *testing.T) {
	for _, tt := range []struct {
		events int
		want   string
	}{
		{1, "[1 0s 2 30s 3 1m0s 4 1m30s]"},
		{3, "[1 0s 1 0s 1 0s 2 1m30s]"},
	} {
		synctest.Test(t, func(t *testing.T) {
			var mu sync.Mutex
			var told []string
			hook := bus.WithHooks(bus.Hooks{Breaker: func(c bus.BreakerChange) {
				mu.Lock()
				defer mu.Unlock()
				if c.To == bus.BreakerOpen {
					told = append(told, fmt.Sprint(c.Trials, " ", time.Since(c.Since).Round(time.Second)))
				}
			}})
			b, err := bus.New(t.Context(), memory.New(), bus.Config{Config: testRules}, hook)
			if err != nil {
				t.Fatal(err)
			}
			_, err = b.Subscribe(bus.Subscription{
				Name: "s", Channels: []string{"x.all"}, Concurrency: 1, Retry: quick, Breaker: giveUp,
				Handler: func(context.Context, schema.Event) error { return errDown },
			})
			if err := errors.Join(err, b.Start(t.Context())); err != nil {
				t.Fatal(err)
			}
			for i := range tt.events {
				emit(t, b, named(fmt.Sprint("e", i), fmt.Sprint("user:", i)))
			}
			time.Sleep(100 * time.Second)
			if err := b.Close(t.Context()); err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			if got := fmt.Sprint(told); got != tt.want {
				t.Errorf("told %s, want %s", got, tt.want)
			}
		})
	}
}
