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

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/brokers/memory"
	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/schema"
	"github.com/eventbus-go/eventbus/store/deadletter"
)

// times notes when a handler was called, and how much time its context gave it.
type times struct {
	mu    sync.Mutex
	at    []time.Duration
	least time.Duration
	start time.Time
}

func (n *times) handle(ctx context.Context, _ schema.Event) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	d, _ := ctx.Deadline()
	if left := time.Until(d); len(n.at) == 0 || left < n.least {
		n.least = left
	}
	n.at = append(n.at, time.Since(n.start))
	return nil
}

// In no window of a second there are more than the rate and the burst, and none is wasted: also where copies on other channels are
// recognised, which no handler sees.
func TestARateLimitBoundsWhatAHandlerIsGiven(t *testing.T) {
	for name, channels := range map[string][]string{"one channel": {"x.all"}, "several": {"x.all", "x.a"}} {
		t.Run(name, func(t *testing.T) {
			n := &times{}
			bubble(t, inMemory, deadletter.NewMemory(0, 0), []bus.Subscription{{
				Name: "s", Channels: channels, Timeout: time.Second, Rate: bus.RateLimit{Events: 100, Burst: 20}, Handler: n.handle,
			}}, func(t *testing.T, b *bus.Bus) {
				n.start = time.Now()
				for i := range 1020 {
					emit(t, b, event("a.b", fmt.Sprint("user:", i)))
				}
				time.Sleep(time.Minute)
				n.mu.Lock()
				defer n.mu.Unlock()
				if len(n.at) != 1020 {
					t.Fatalf("%d were handled", len(n.at))
				}
				if last := n.at[1019]; last < 9900*time.Millisecond || last > 10100*time.Millisecond {
					t.Errorf("1,020 events took %v, want 10 s", last)
				}
				for i := 120; i < len(n.at); i++ {
					if within := n.at[i] - n.at[i-120]; within < 990*time.Millisecond {
						t.Fatalf("121 events within %v, from the %dth", within, i-120)
					}
				}
				if n.least < time.Second {
					t.Errorf("an attempt had %v: its time ran while it waited", n.least)
				}
				if st := subOf(b); st.Handled != 1020 || st.Retries != 0 || st.Failed != 0 {
					t.Errorf("the books say %+v", st)
				}
			})
		})
	}
}

// kept makes a connection promise that it keeps what is given back, and notes that.
func kept() brokers.Conn {
	return without{memory.New(), func(c *brokers.Capabilities) { c.Durable = true }}
}

func TestAShutdownDoesNotWaitForARate(t *testing.T) {
	for name, tt := range map[string]struct {
		conn    func() brokers.Conn
		handled int64
	}{
		"the broker has them back":    {kept, 1},
		"or they are handled at once": {inMemory, 100},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, err := bus.New(t.Context(), tt.conn(), bus.Config{Config: testRules})
				if err != nil {
					t.Fatal(err)
				}
				n := &times{start: time.Now()}
				sub, err := b.Subscribe(bus.Subscription{
					Name: "s", Channels: []string{"x.all"}, Group: "g", Rate: bus.RateLimit{Events: 1, Per: time.Hour}, Handler: n.handle,
				})
				if err := errors.Join(err, b.Start(t.Context())); err != nil {
					t.Fatal(err)
				}
				for i := range 100 {
					emit(t, b, event("a.b", fmt.Sprint("user:", i%7)))
				}
				time.Sleep(time.Minute)
				if st := sub.Stats(); st.Handled != 1 || st.InFlight != 99 {
					t.Errorf("before the shutdown: %+v", st)
				}
				began := time.Now()
				if err := b.Close(t.Context()); err != nil || time.Since(began) > time.Second {
					t.Errorf("after %v Close returned %v", time.Since(began), err)
				}
				if st := sub.Stats(); st.Handled != tt.handled || st.Redelivered != 100-tt.handled || !st.Balanced() {
					t.Errorf("the books say %+v", st)
				}
			})
		})
	}
}

func TestRateLimitsAreReadAndWritten(t *testing.T) {
	for text, want := range map[string]bus.RateLimit{
		"100/s, burst 20": {Events: 100, Per: time.Second, Burst: 20},
		"30/m":            {Events: 30, Per: time.Minute},
		" 5/10s ,burst 1": {Events: 5, Per: 10 * time.Second, Burst: 1},
		"off":             bus.NoRate,
	} {
		got, err := bus.ParseRateLimit(text)
		if err != nil || got != want {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
		if again, err := bus.ParseRateLimit(got.Text()); err != nil || again.Events != want.Events || again.Per != want.Per {
			t.Errorf("%q is written as %q and read as %+v, %v", text, got.Text(), again, err)
		}
	}
	for _, text := range []string{"", "100", "0/s", "-1/s", "100/x", "100/s, 20", "100/s, burst 0", "100/s, burst 2, burst 3", "1.5/s"} {
		if r, err := bus.ParseRateLimit(text); err == nil || !strings.Contains(err.Error(), `"100/s, burst 20"`) {
			t.Errorf("%q: %+v, %v", text, r, err)
		}
	}
}
