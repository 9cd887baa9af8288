package prometheus_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	prom "github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/eventbus-go/eventbus/brokers/memory"
	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/observe"
	"github.com/eventbus-go/eventbus/observe/prometheus"
	"github.com/eventbus-go/eventbus/router"
	"github.com/eventbus-go/eventbus/schema"
)

// scrape returns what a handler answers, by lines.
func scrape(t testing.TB, h http.Handler) []string {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(context.Background(), http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusOK {
		t.Fatalf("%d: %s", w.Code, w.Body)
	}
	return strings.Split(w.Body.String(), "\n")
}

// busy returns a bus that has published and handled, of which one subscription has the given name.
func busy(t testing.TB, name string) *bus.Bus {
	t.Helper()
	b, err := bus.New(context.Background(), memory.New(), bus.Config{Config: router.Config{Prefix: "x", Rules: []router.Rule{
		{Match: []string{">"}, Channels: []string{"all"}},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close(context.Background()) })
	for _, s := range []bus.Subscription{
		{Name: name, Group: "g", Channels: []string{"x.all"}, Handler: func(_ context.Context, e schema.Event) error {
			if e.Type == "a.fails" {
				return bus.Permanent(errors.New("no"))
			}
			return nil
		}},
		{Name: "second", Channels: []string{"x.*"}, Handler: func(context.Context, schema.Event) error { return nil }},
	} {
		if _, err := b.Subscribe(s); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	return b
}

func settled(t testing.TB, b *bus.Bus, n int64) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		done := true
		for _, s := range b.Stats().Subscriptions {
			done = done && s.Handled+s.Failed == n
		}
		if done {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("not handled: %+v", b.Stats())
		}
	}
}

func TestAScrapeSaysWhatTheBusHasCounted(t *testing.T) {
	b := busy(t, "first")
	h := prometheus.Handler(b)
	for _, eventType := range []string{"a.b", "a.b", "a.fails"} {
		if err := b.Publish(t.Context(), schema.Event{Type: eventType}); err != nil {
			t.Fatal(err)
		}
	}
	settled(t, b, 3)
	lines := scrape(t, h)
	for _, want := range []string{
		`eventbus_publish_accepted_total{broker="main"} 3`,
		`eventbus_publish_dropped_total{broker="main",reason="lane_full"} 0`,
		`eventbus_subscription_handled_total{subscription="first"} 2`,
		`eventbus_subscription_failed_total{subscription="first"} 1`,
		`eventbus_subscription_handling_seconds_count{subscription="first"} 3`,
		`eventbus_subscription_event_age_seconds_bucket{subscription="second",le="+Inf"} 3`,
		`eventbus_subscription_ready{subscription="second"} 1`,
		`eventbus_dead_letters_depth 1`,
		`eventbus_broker_up{broker="main"} 1`,
		`eventbus_lag_waiting{broker="main",channel="x.all",group="g"} 0`,
		`# TYPE eventbus_publish_queued gauge`,
	} {
		if !slices.Contains(lines, want) {
			t.Errorf("the scrape has no line %s in\n%s", want, strings.Join(lines, "\n"))
		}
	}
}

// A program gives Prometheus what its own names are, and names are not always tame.
func TestAScrapeStandsWhateverASubscriptionIsCalled(t *testing.T) {
	for _, name := range []string{"other", "a\"} 1\nevil 1", "\xff\x00", strings.Repeat("ü", 1000)} {
		b := busy(t, name)
		lines := scrape(t, prometheus.Handler(b, observe.MaxLabelValues(1)))
		n, evil := 0, false
		for _, line := range lines {
			evil = evil || strings.HasPrefix(line, "evil") || len(line) > 300
			if strings.HasPrefix(line, "eventbus_subscription_received_total{") {
				n++
			}
		}
		if n > 2 || n == 0 || evil {
			t.Errorf("a subscription called %q: %d series\n%s", name, n, strings.Join(lines, "\n"))
		}
	}
}

func TestACollectorJoinsARegistryAndIsLinted(t *testing.T) {
	b := busy(t, "first")
	registry := prom.NewPedanticRegistry()
	if err := registry.Register(prometheus.NewCollector(t.Context(), b)); err != nil {
		t.Fatal(err)
	}
	problems, err := testutil.GatherAndLint(registry)
	if err != nil || len(problems) > 0 {
		t.Errorf("%v, %+v", err, problems)
	}
	n, err := testutil.GatherAndCount(registry, "eventbus_subscription_handled_total")
	if n != 2 || err != nil {
		t.Errorf("%d series, %v", n, err)
	}
	families, err := prom.DefaultGatherer.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if strings.HasPrefix(f.GetName(), "eventbus_") {
			t.Errorf("the global registry has %s", f.GetName())
		}
	}
}

// BenchmarkScrape is what a scrape costs, of two subscriptions with histograms.
func BenchmarkScrape(b *testing.B) {
	h := prometheus.Handler(busy(b, "first"))
	b.ReportAllocs()
	for b.Loop() {
		scrape(b, h)
	}
}

func ExampleHandler() {
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

	http.Handle("/metrics", prometheus.Handler(b))

	server := httptest.NewServer(http.DefaultServeMux)
	defer server.Close()
	answer, err := http.Get(server.URL + "/metrics")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer answer.Body.Close()
	text, _ := io.ReadAll(answer.Body)
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "eventbus_publish_confirmed_total") {
			fmt.Print(line)
		}
	}
	// Output: eventbus_publish_confirmed_total{broker="main"} 2
}
