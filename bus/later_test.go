package bus_test

import (
	"context"
	"errors"
	"fmt"
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

// A diary notes which event was tried when, and by which number.
type diary struct {
	mu      sync.Mutex
	start   time.Time
	entries []string
}

func (d *diary) note(e schema.Event, attempt int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.entries = append(d.entries, fmt.Sprintf("%s#%d@%v", e.ID, attempt, time.Since(d.start).Round(time.Second)))
}

func (d *diary) all() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.entries)
}

// without makes a connection promise less than it keeps.
type without struct {
	brokers.Conn
	change func(*brokers.Capabilities)
}

func (w without) Capabilities() brokers.Capabilities {
	c := w.Conn.Capabilities()
	w.change(&c)
	return c
}

func inMemory() brokers.Conn { return memory.New() }

func unordered(c *brokers.Capabilities) { c.Order = brokers.OrderNone }
func forgetful(c *brokers.Capabilities) { c.Delay, c.Attempts = false, false }

// One worker, and an event that fails for minutes: on no kind of broker does it keep the others waiting.
func TestAnEventThatFailsKeepsOnlyItsKeyWaiting(t *testing.T) {
	minute := bus.Backoff{Min: time.Minute, Max: time.Minute, NoJitter: true}
	for _, tt := range []struct {
		name     string
		conn     func() brokers.Conn
		anyOrder bool
		want     []string
		back     int64 // given back to the broker
	}{
		{"where keys are ordered, the later ones of its key wait", inMemory, false,
			[]string{"bad#1@0s", "other#1@0s", "bad#2@1m0s", "bad#3@2m0s", "behind#1@2m0s"}, 0},
		{"unless the policy gives the order up", inMemory, true,
			[]string{"bad#1@0s", "behind#1@0s", "other#1@0s", "bad#2@1m0s", "bad#3@2m0s"}, 2},
		{"also where the broker cannot delay",
			func() brokers.Conn { return without{memory.New(), forgetful} }, true,
			[]string{"bad#1@0s", "behind#1@0s", "other#1@0s", "bad#2@1m0s", "bad#3@2m0s"}, 0},
		{"where no order is promised, the broker has it back",
			func() brokers.Conn { return without{memory.New(), unordered} }, false,
			[]string{"bad#1@0s", "behind#1@0s", "other#1@0s", "bad#2@1m0s", "bad#3@2m0s"}, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, err := bus.New(t.Context(), tt.conn(), bus.Config{Config: testRules})
				if err != nil {
					t.Fatal(err)
				}
				d := &diary{start: time.Now()}
				_, err = b.Subscribe(bus.Subscription{
					Name: "s", Channels: []string{"x.all"}, Concurrency: 1, Group: "g",
					Retry: bus.RetryPolicy{Attempts: 3, Backoff: minute, AnyOrder: tt.anyOrder},
					Handler: func(ctx context.Context, e schema.Event) error {
						n := router.Attempt(ctx)
						d.note(e, n)
						if e.ID == "bad" && n < 3 {
							return errors.New("not yet")
						}
						return nil
					},
				})
				if err := errors.Join(err, b.Start(t.Context())); err != nil {
					t.Fatal(err)
				}
				bad, behind, other := event("a.b", "user:1"), event("a.b", "user:1"), event("a.b", "user:2")
				bad.ID, behind.ID, other.ID = "bad", "behind", "other"
				if err := b.Emit(t.Context(), bad, behind, other); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Hour)
				st := b.Stats().Subscriptions["s"]
				if got := d.all(); !sameEntries(got, tt.want) {
					t.Errorf("got %v, want %v", got, tt.want)
				}
				if st.Handled != 3 || st.Redelivered != tt.back || st.Retries != 2 || st.Waiting != 0 || !st.Balanced() {
					t.Errorf("the books say %+v", st)
				}
				if err := b.Close(t.Context()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// sameEntries compares two diaries, in any order within a moment.
func sameEntries(got, want []string) bool {
	sorted := func(in []string) []string {
		out := slices.Clone(in)
		slices.SortStableFunc(out, func(a, b string) int {
			_, at, _ := strings.Cut(a, "@")
			_, bt, _ := strings.Cut(b, "@")
			if at != bt {
				return 0
			}
			return strings.Compare(a, b)
		})
		return out
	}
	return slices.Equal(sorted(got), sorted(want))
}

// A copy of a parked event, on another channel, waits for what becomes of it.
func TestACopyOfAnEventThatWaitsIsHandledOnce(t *testing.T) {
	for _, anyOrder := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			b, err := bus.New(t.Context(), without{memory.New(), forgetful}, bus.Config{Config: testRules})
			if err != nil {
				t.Fatal(err)
			}
			calls := 0
			sub, err := b.Subscribe(bus.Subscription{
				Name: "s", Channels: []string{"x.all", "x.a"}, Concurrency: 1,
				Retry: bus.RetryPolicy{Backoff: bus.Backoff{Min: time.Minute, NoJitter: true}, AnyOrder: anyOrder},
				Handler: func(context.Context, schema.Event) error {
					if calls++; calls < 3 {
						return errors.New("not yet")
					}
					return nil
				},
			})
			if err := errors.Join(err, b.Start(t.Context()), b.Emit(t.Context(), event("a.b", "user:1"))); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Hour)
			if err := b.Close(t.Context()); err != nil {
				t.Error(err)
			}
			if st := sub.Stats(); calls != 3 || st.Handled != 1 || st.Duplicate != 1 || !st.Balanced() {
				t.Errorf("called %d times: %+v", calls, st)
			}
		})
	}
}

// What waits for its next attempt is given back at once when the bus closes.
func TestCloseDoesNotWaitForWhatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, err := bus.New(t.Context(), memory.New(), bus.Config{Config: testRules})
		if err != nil {
			t.Fatal(err)
		}
		sub, err := b.Subscribe(bus.Subscription{
			Name: "s", Channels: []string{"x.all", "x.a"}, Retry: bus.RetryPolicy{Backoff: bus.Backoff{Min: time.Hour, NoJitter: true}},
			Handler: func(context.Context, schema.Event) error { return errors.New("no") },
		})
		if err := errors.Join(err, b.Start(t.Context())); err != nil {
			t.Fatal(err)
		}
		for i := range 100 {
			if err := b.Emit(t.Context(), event("a.b", fmt.Sprint("user:", i%7))); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Second)
		if st := sub.Stats(); st.Waiting != 7 {
			t.Errorf("%d events wait, want one of each key: %+v", st.Waiting, st)
		}
		start := time.Now()
		if err := b.Close(t.Context()); err != nil || time.Since(start) > time.Second {
			t.Errorf("Close took %v and returned %v", time.Since(start), err)
		}
		if st := sub.Stats(); !st.Balanced() || st.InFlight != 0 || st.Redelivered != 200 || st.Failed != 0 {
			t.Errorf("the books say %+v", st)
		}
	})
}
