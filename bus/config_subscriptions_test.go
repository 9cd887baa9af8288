package bus_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eventbus-go/eventbus/brokers/memory"
	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/router"
	"github.com/eventbus-go/eventbus/schema"
)

var errDeclined = errors.New("declined")

// The file has the last word over the code, and a policy for each error by its name.
func TestAFileSetsTheRetriesOfASubscription(t *testing.T) {
	cfg, err := bus.ParseConfig([]byte(`
subscriptions:
  billing:
    retry: 4 times, 1s, no jitter
    errors:
      declined: never
      panic: 2 times, 1m, no jitter
    concurrency: 3
    timeout: 5s
`))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		fail func() error
		want int
		took time.Duration
	}{
		{"any error", func() error { return errors.New("x") }, 4, 3 * time.Second},
		{"a named one", func() error { return errDeclined }, 1, 0},
		{"a panic", func() error { panic("x") }, 2, time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cfg := cfg
				cfg.Config = testRules
				b, err := bus.New(t.Context(), memory.New(), cfg,
					bus.WithError("declined", func(err error) bool { return errors.Is(err, errDeclined) }))
				if err != nil {
					t.Fatal(err)
				}
				attempts, last := 0, time.Time{}
				start := time.Now()
				_, err = b.Subscribe(bus.Subscription{
					Name: "billing", Channels: []string{"x.all"}, Retry: bus.RetryPolicy{Attempts: 9}, Concurrency: 1,
					Handler: func(ctx context.Context, _ schema.Event) error {
						attempts, last = router.Attempt(ctx), time.Now()
						if d, _ := ctx.Deadline(); time.Until(d) != 5*time.Second {
							t.Errorf("the attempt has %v", time.Until(d))
						}
						return tt.fail()
					},
				})
				if err := errors.Join(err, b.Start(t.Context()), b.Emit(t.Context(), event("a.b", "user:1"))); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Hour)
				if err := b.Close(t.Context()); err != nil {
					t.Error(err)
				}
				if took := last.Sub(start); attempts != tt.want || took != tt.took {
					t.Errorf("%d attempts within %v, want %d within %v", attempts, took, tt.want, tt.took)
				}
			})
		})
	}
}

func TestSettingsThatCannotBeMeantAreRefusedWithTheirPlace(t *testing.T) {
	for text, want := range map[string]string{
		"subscriptions:\n  billing:\n    retries: 3 times":              "line 3, column 5",
		"subscriptions:\n  billing:\n    retry: often":                  `line 3, column 12: retry policy: "often" cannot be read`,
		"subscriptions:\n  billing:\n    errors:\n      timeout: 1s":    "line 4, column 16",
		"subscriptions:\n  billing:\n    prefetch: -1":                  "line 3, column 15",
		"subscriptions:\n  billing:\n    timeout: 48h":                  "line 3, column 14",
		"subscriptions:\n  billing:\n    retry: [3 times, 1s]":          "line 3, column 12",
		"subscriptions:\n  billing:\n    retry: 3 times, 1s, factor -2": "factor",
	} {
		_, err := bus.ParseConfig([]byte(text))
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "^") {
			t.Errorf("%q: got %v, want %s and a caret", text, err, want)
		}
	}
}

func TestNamesThatTheProgramDoesNotHaveAreRefused(t *testing.T) {
	handler := func(context.Context, schema.Event) error { return nil }
	open := func(c map[string]bus.SubscriptionConfig) *bus.Bus {
		b, err := bus.New(t.Context(), memory.New(), bus.Config{Config: testRules, Subscriptions: c})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { b.Close(ended()) })
		return b
	}
	b := open(map[string]bus.SubscriptionConfig{"biling": {Concurrency: 2}})
	if _, err := b.Subscribe(bus.Subscription{Name: "billing", Channels: []string{"x.all"}, Handler: handler}); err != nil {
		t.Fatal(err)
	}
	if err := b.Start(t.Context()); err == nil || !strings.Contains(err.Error(), `"biling"`) || !strings.Contains(err.Error(), "(billing)") {
		t.Errorf("a name that no subscription has: %v", err)
	}
	b = open(map[string]bus.SubscriptionConfig{"billing": {Errors: map[string]bus.RetryPolicy{"declind": {Attempts: 1}}}})
	_, err := b.Subscribe(bus.Subscription{Name: "billing", Channels: []string{"x.all"}, Handler: handler})
	if err == nil || !strings.Contains(err.Error(), `"declind"`) || !strings.Contains(err.Error(), "timeout, panic") {
		t.Errorf("a name that no error has: %v", err)
	}
}
