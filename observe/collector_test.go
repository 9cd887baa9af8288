package observe

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/brokers/memory"
	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/schema"
)

// A frozen broker answers nothing, and listens to no context.
type frozen struct {
	brokers.Conn
	asked  atomic.Int64
	thawed chan struct{}
}

func (f *frozen) Ping(context.Context) error {
	f.asked.Add(1)
	<-f.thawed
	return nil
}

func (f *frozen) Lag(_ context.Context, _ string, channels []string) ([]brokers.Lag, error) {
	f.asked.Add(1)
	<-f.thawed
	return []brokers.Lag{{Channel: channels[0], Waiting: 7, Pending: -1, Oldest: time.Now().Add(-time.Minute)}}, nil
}

// values returns the samples as name{labels}, by what they are.
func values(samples []Sample) map[string]float64 {
	out := make(map[string]float64)
	for _, s := range samples {
		out[s.Metric.Name+"{"+strings.Join(s.Labels, ",")+"}"] = s.Value
	}
	return out
}

func TestAFrozenBrokerDelaysACollectForItsTimeoutAloneAndHidesNothingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := &frozen{Conn: memory.New(), thawed: make(chan struct{})}
		b, err := bus.New(t.Context(), conn, bus.Config{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.Subscribe(bus.Subscription{
			Name: "s", Group: "g", Events: []string{"user.*"}, Handler: func(context.Context, schema.Event) error { return nil },
		}); err != nil {
			t.Fatal(err)
		}
		if err := b.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := b.Publish(t.Context(), schema.Event{Type: "user.registered"}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		c := NewCollector(b, Timeout(2*time.Second), Every(time.Minute))
		for range 3 {
			begin := time.Now()
			got := values(c.Collect(t.Context()))
			if took := time.Since(begin); took > 2*time.Second+grace {
				t.Errorf("it took %v", took)
			}
			for name, want := range map[string]float64{
				"eventbus_subscription_handled_total{s}": 1, "eventbus_broker_up{main}": 0, "eventbus_dead_letters_depth{}": 0,
				"eventbus_probe_failed{brokers}": 1, "eventbus_probe_failed{lag}": 1, "eventbus_probe_failed{dead_letters}": 0,
			} {
				if v, ok := got[name]; !ok || v != want {
					t.Errorf("%s is %v (%v), want %v", name, v, ok, want)
				}
			}
			if _, ok := got["eventbus_lag_waiting{main,g,user_service.events.user}"]; ok {
				t.Error("there is a lag that nobody knows")
			}
		}
		if n := conn.asked.Load(); n != 2 {
			t.Errorf("the frozen broker was asked %d times, want 2: no question while one is under way", n)
		}
		close(conn.thawed)
		synctest.Wait()
		begin := time.Now()
		got := values(c.Collect(t.Context()))
		if took := time.Since(begin); took != 0 {
			t.Errorf("with the answers there it took %v", took)
		}
		for name, want := range map[string]float64{
			"eventbus_broker_up{main}": 1, "eventbus_probe_failed{lag}": 0,
			"eventbus_lag_waiting{main,g,user_service.events.user}": 7, "eventbus_lag_oldest_age_seconds{main,g,user_service.events.user}": 60,
		} {
			if v, ok := got[name]; !ok || v != want {
				t.Errorf("after the thaw %s is %v (%v), want %v", name, v, ok, want)
			}
		}
		if _, ok := got["eventbus_lag_pending{main,g,user_service.events.user}"]; ok {
			t.Error("the broker does not know what is pending, and a metric does")
		}
		if n := conn.asked.Load(); n != 2 {
			t.Errorf("the broker was asked %d times, want 2: the answers are fresh", n)
		}
		time.Sleep(time.Minute)
		c.Collect(t.Context())
		if n := conn.asked.Load(); n != 4 {
			t.Errorf("the broker was asked %d times, want 4: the answers were old", n)
		}
		if err := b.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if got := values(c.Collect(t.Context())); got["eventbus_subscription_handled_total{s}"] != 1 {
			t.Errorf("after Close: %v", got)
		}
	})
}

func TestCollectsAtTheSameTimeAgree(t *testing.T) {
	b, err := bus.New(t.Context(), memory.New(), bus.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close(t.Context())
	c := NewCollector(b, MaxLabelValues(3), Timeout(time.Minute))
	done := make(chan int)
	for range 4 {
		go func() {
			n := 0
			for range 20 {
				n = len(c.Collect(t.Context()))
				runtime.Gosched()
			}
			done <- n
		}()
	}
	first := <-done
	for range 3 {
		if n := <-done; n != first {
			t.Errorf("%d samples and %d", first, n)
		}
	}
}

// ExampleCollector reads what a bus has counted, for a monitoring system that no package here is for.
func ExampleCollector() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	b, err := bus.Open(ctx, "memory://")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer b.Close(ctx)
	if err := b.Publish(ctx, schema.Event{Type: "user.registered"}); err != nil {
		fmt.Println(err)
	}
	for _, s := range NewCollector(b).Collect(ctx) {
		if s.Metric.Name == "eventbus_publish_confirmed_total" {
			fmt.Println(s.Metric.Name, s.Labels, s.Value)
		}
	}
	// Output: eventbus_publish_confirmed_total [main] 2
}
