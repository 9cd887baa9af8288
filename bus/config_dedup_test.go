package bus_test

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/eventbus-go/eventbus/brokers/memory"
	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/schema"
	_ "github.com/eventbus-go/eventbus/store/sqlite"
)

// handledTwice says how often a subscription handles an event that is published twice to a bus of that configuration.
func handledTwice(t *testing.T, text string, policy bus.DedupPolicy) int64 {
	t.Helper()
	cfg, err := bus.ParseConfig([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	cfg.Config = testRules
	b, err := bus.New(t.Context(), memory.New(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := b.Close(t.Context()); err != nil {
			t.Errorf("Close: %v", err)
		}
	}()
	sub, err := b.Subscribe(bus.Subscription{
		Name: "billing", Channels: []string{"x.all"}, Dedup: policy, Handler: func(context.Context, schema.Event) error { return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	emit(t, b, named("1", "user:1"), named("1", "user:1"))
	for begin := time.Now(); sub.Stats().Received < 2 || sub.Stats().InFlight > 0; time.Sleep(time.Millisecond) {
		if time.Since(begin) > time.Minute {
			t.Fatalf("they are not done with: %+v", sub.Stats())
		}
	}
	return sub.Stats().Handled
}

func TestDedupIsSetByTheConfiguration(t *testing.T) {
	file := filepath.Join(t.TempDir(), "handled.db")
	for _, tt := range []struct {
		text   string
		policy bus.DedupPolicy
		want   int64
	}{
		{"", bus.DedupPolicy{}, 2},
		{"", bus.DedupPolicy{Window: time.Hour}, 1},
		{"subscriptions: {billing: {dedup: 24h}}", bus.DedupPolicy{}, 1},
		{"subscriptions: {billing: {dedup: {when_down: handle}}}", bus.DedupPolicy{}, 1},
		{"subscriptions: {billing: {dedup: off}}", bus.DedupPolicy{Window: time.Hour}, 2},
		{"dedup: sqlite:" + file + "\nsubscriptions: {billing: {dedup: {window: 24h, lease: 1m, timeout: 20s, scope: bills}}}", bus.DedupPolicy{}, 1},
		{"dedup: sqlite:" + file, bus.DedupPolicy{Scope: "bills", Timeout: 20 * time.Second}, 0}, // it is known from the one before
		{"dedup: memory://?max_events=1", bus.DedupPolicy{}, 2},
	} {
		if got := handledTwice(t, tt.text, tt.policy); got != tt.want {
			t.Errorf("%q, %+v: handled %d times, want %d", tt.text, tt.policy, got, tt.want)
		}
	}
}

func TestDedupSettingsThatCannotBeMeantAreRefusedWithTheirPlace(t *testing.T) {
	for text, want := range map[string]string{
		"subscriptions:\n  billing:\n    dedup: often":                  "line 3, column 12",
		"subscriptions:\n  billing:\n    dedup: {windw: 24h}":           "line 3, column 13",
		"subscriptions:\n  billing:\n    dedup:\n      window: 1ms":     "line 4, column 15",
		"subscriptions:\n  billing:\n    dedup:\n      lease: 99h":      "line 4, column 14",
		"subscriptions:\n  billing:\n    dedup:\n      when_down: skip": "line 4, column 18",
		"subscriptions:\n  billing:\n    dedup:\n      timeout: 2m":     "line 4, column 16",
		"subscriptions:\n  billing:\n    dedup: [24h]":                  "line 3, column 12",
		"dedup: ${NO_SUCH_VARIABLE_OF_OURS}":                            `names the environment variable "NO_SUCH_VARIABLE_OF_OURS"`,
	} {
		_, err := bus.ParseConfig([]byte(text))
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "^") {
			t.Errorf("%q: got %v, want %s and a caret", text, err, want)
		}
	}
	_, err := bus.New(t.Context(), memory.New(), bus.Config{Config: testRules, Dedup: "mysql://u:secret@h"})
	if err == nil || !strings.Contains(err.Error(), "dedup") || strings.Contains(err.Error(), "secret") {
		t.Errorf("a store that is not known: %v", err)
	}
}
