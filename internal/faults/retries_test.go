package faults

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	_ "github.com/eventbus-go/eventbus/brokers/nats"
	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/internal/testbroker"
	"github.com/eventbus-go/eventbus/router"
	"github.com/eventbus-go/eventbus/schema"
)

func about(subject string) schema.Event {
	return schema.Event{Type: "a.b", Subject: subject, Data: json.RawMessage(`{"n":1}`)}
}

func emitAll(t *testing.T, b *bus.Bus, events ...schema.Event) {
	t.Helper()
	if err := b.Emit(t.Context(), events...); err != nil {
		t.Fatal(err)
	}
}

// toAll sends every event to x.all.
var toAll = router.Config{Prefix: "x", Rules: []router.Rule{{Match: []string{">"}, Channels: []string{"all"}}}}

// open opens a bus whose every event goes to x.all, and closes it.
func open(t *testing.T, cfg bus.Config, opts ...bus.Option) *bus.Bus {
	t.Helper()
	cfg.Config = toAll
	b, err := bus.OpenConfig(t.Context(), cfg, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := b.Close(ctx); err != nil {
			t.Errorf("Close: %v", err)
		}
		for name, s := range b.Stats().Subscriptions {
			if !s.Balanced() {
				t.Errorf("the books of %s do not balance: %+v", name, s)
			}
		}
	})
	return b
}

// On real servers: a thousand events pass one that fails, with a single worker, and it is tried again by its schedule.
func TestRetriesOnRealBrokers(t *testing.T) {
	for _, tt := range []struct {
		name  string
		url   func(t *testing.T) string
		group string
		back  bool // by the broker
	}{
		{"redis", func(t *testing.T) string { return testbroker.AnyRedis(t).URL() }, "", false},
		{"nats+js", func(t *testing.T) string {
			return strings.Replace(testbroker.AnyNATS(t, testbroker.NATSOptions{JetStream: true}).URL(), "nats://", "nats+js://", 1)
		}, "g", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			const events = 1000
			b := open(t, bus.Config{URL: tt.url(t)})
			var numbers []int
			sub, err := b.Subscribe(bus.Subscription{
				Name: "s", Channels: []string{"x.all"}, Concurrency: 1, Group: tt.group,
				Retry: bus.RetryPolicy{Attempts: 4, InPlace: time.Millisecond,
					Backoff: bus.Backoff{Min: 300 * time.Millisecond, Max: 300 * time.Millisecond, NoJitter: true}},
				Handler: func(ctx context.Context, e schema.Event) error {
					if e.ID != "bad" {
						return nil
					}
					numbers = append(numbers, router.Attempt(ctx)) // one worker
					return errors.New("no")
				},
			})
			if err := errors.Join(err, b.Start(t.Context())); err != nil {
				t.Fatal(err)
			}
			bad := about("bad")
			bad.ID = "bad"
			start := time.Now()
			emitAll(t, b, bad)
			for i := range events {
				emitAll(t, b, about(fmt.Sprint("user:", i)))
			}
			eventually(t, patience, "the bad one has failed", func() bool { return sub.Stats().Failed == 1 && sub.Stats().Handled == events })
			if took := time.Since(start); took < 900*time.Millisecond {
				t.Errorf("4 attempts with 300 ms in between took %v", took)
			}
			st := sub.Stats()
			if (st.Redelivered == 3) != tt.back || st.Retries != 3 {
				t.Errorf("the books say %+v", st)
			}
			if err := b.Close(t.Context()); err != nil {
				t.Error(err)
			}
			if want := []int{1, 2, 3, 4}; !slices.Equal(numbers, want) {
				t.Errorf("its attempts were %v, want %v", numbers, want)
			}
		})
	}
}
