package prometheus_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	_ "github.com/eventbus-go/eventbus/brokers/redis"
	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/health"
	"github.com/eventbus-go/eventbus/internal/testbroker"
	"github.com/eventbus-go/eventbus/observe"
	"github.com/eventbus-go/eventbus/observe/prometheus"
	"github.com/eventbus-go/eventbus/schema"
)

// A frozen server answers nothing and refuses nothing. Dead letters and lag are on it, too.
func TestAScrapeAndAProbeOfAServiceWhoseServerIsFrozenAnswer(t *testing.T) {
	server := testbroker.StartRedis(t, testbroker.RedisOptions{})
	b, err := bus.Open(t.Context(), strings.Replace(server.URL(), "redis://", "redis+stream://", 1))
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close(context.Background())
	if _, err = b.Subscribe(bus.Subscription{
		Name: "s", Group: "g", Events: []string{"user.*"}, Handler: func(context.Context, schema.Event) error { return nil },
	}); err == nil {
		err = b.Start(t.Context())
	}
	if err == nil {
		err = b.Publish(t.Context(), schema.Event{Type: "user.registered"})
	}
	if err != nil {
		t.Fatal(err)
	}
	metrics, ready := prometheus.Handler(b, observe.Every(0)), health.Ready(b, health.Every(0))
	ask := func() (code int, lines []string) {
		begin := time.Now()
		lines = scrape(t, metrics)
		w := httptest.NewRecorder()
		ready.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil))
		if took := time.Since(begin); took > time.Minute { // 2 s, and a slow machine
			t.Errorf("the answers took %v", took)
		}
		return w.Code, lines
	}
	until := func(code int, has string) {
		t.Helper()
		for end := time.Now().Add(time.Minute); ; {
			got, lines := ask()
			if got == code && slices.Contains(lines, has) {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("readiness says %d, and the metrics are\n%s", got, strings.Join(lines, "\n"))
			}
		}
	}
	const lag = `eventbus_lag_waiting{broker="main",channel="user_service.events.user",group="g"} 0`
	until(http.StatusOK, lag)
	if err := server.Freeze(); err != nil {
		t.Fatal(err)
	}
	until(http.StatusServiceUnavailable, `eventbus_broker_up{broker="main"} 0`)
	if _, lines := ask(); slices.Contains(lines, lag) || !slices.Contains(lines, `eventbus_probe_failed{probe="lag"} 1`) ||
		!slices.Contains(lines, `eventbus_publish_confirmed_total{broker="main"} 2`) {
		t.Errorf("while it is frozen the metrics are\n%s", strings.Join(lines, "\n"))
	}
	if err := server.Thaw(); err != nil {
		t.Fatal(err)
	}
	until(http.StatusOK, lag)
}
