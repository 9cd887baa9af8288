// Program 04-metrics is a service that can be watched: /metrics for Prometheus, /healthz and /readyz for an
// orchestrator, logs that say which event they are about. It works for a moment, asks itself what an operator would
// ask, and ends.
//
//	go run ./examples/04-metrics                     # on the broker in the process, nothing to install
//	go run ./examples/04-metrics -addr :9090         # goes on, with a little load, until Ctrl-C
//
// With the second, `prometheus --config.file=deploy/prometheus/prometheus.yml` scrapes it and loads the alert rules,
// and Grafana shows deploy/grafana/eventbus.json once it is imported (Dashboards, New, Import). EVENTBUS_URL chooses
// another broker.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync"
	"time"

	_ "github.com/eventbus-go/eventbus/brokers/all"
	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/health"
	"github.com/eventbus-go/eventbus/observe/prometheus"
	"github.com/eventbus-go/eventbus/schema"
)

func main() {
	addr := flag.String("addr", "", "serve there, and go on until Ctrl-C")
	flag.Parse()
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt)
	defer cancel()
	s := &service{url: cmp.Or(os.Getenv(bus.EnvURL), "memory://"), addr: cmp.Or(*addr, "127.0.0.1:0"), goOn: *addr != ""}
	if err := s.run(ctx, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

type service struct {
	url, addr string
	goOn      bool

	mu    sync.Mutex
	tried map[string]bool
}

func (s *service) run(ctx context.Context, out io.Writer) error {
	s.tried = make(map[string]bool)
	log := slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{Level: slog.LevelError + 1})) // lower it to see each failure
	b, err := bus.Open(ctx, s.url, bus.WithLogger(log))
	if err != nil {
		return err
	}
	defer closeSoon(ctx, b)
	_, err = b.Subscribe(bus.Subscription{
		Name: "mailer", Events: []string{"user.*"}, Handler: s.mail,
		Retry: bus.RetryPolicy{Attempts: 3, Backoff: bus.Backoff{Min: time.Millisecond, Max: 5 * time.Millisecond}},
	})
	if err != nil {
		return err
	}
	if err := b.Start(ctx); err != nil {
		return err
	}

	mux := http.NewServeMux()
	mux.Handle("/metrics", prometheus.Handler(b)) // this is all there is to metrics
	health.Register(mux, b)                       // and this to health
	base, stop, err := serve(ctx, s.addr, mux)
	if err != nil {
		return err
	}
	defer stop()

	fmt.Fprintln(out, "1,000 users register; the mail server is slow with some, and refuses others:")
	if err := load(ctx, b, 1000); err != nil {
		return err
	}
	if err := report(ctx, out, base); err != nil {
		return err
	}
	if !s.goOn {
		return nil
	}
	fmt.Fprintln(out, "serving on", base)
	for load(ctx, b, 100) == nil {
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
		}
	}
	return nil
}

var errRefused = errors.New("no such mailbox")

// mail fails for every hundredth user for good, and for every tenth at the first attempt.
func (s *service) mail(ctx context.Context, e schema.Event) error {
	switch {
	case strings.HasSuffix(e.Subject, "00"):
		bus.Logger(ctx, e).Warn("not mailed", "to", e.Subject)
		return bus.Permanent(errRefused)
	case strings.HasSuffix(e.Subject, "0") && s.first(e.ID):
		return errors.New("mail server: try again")
	}
	return nil
}

func (s *service) first(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	again := s.tried[id]
	s.tried[id] = true
	return !again
}

// load publishes n events, and returns when they are confirmed, and handled or given up.
func load(ctx context.Context, b *bus.Bus, n int) error {
	before := b.Stats().Subscriptions["mailer"]
	for i := range n {
		if err := b.Emit(ctx, schema.Event{Type: "user.registered", Subject: schema.Ref("user", int64(i+1))}); err != nil {
			return err
		}
	}
	t := time.NewTicker(time.Millisecond)
	defer t.Stop()
	for {
		st := b.Stats()
		now := st.Subscriptions["mailer"]
		if st.Published.Queued == 0 && now.Handled+now.Failed == before.Handled+before.Failed+int64(n) {
			return nil
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// serve serves until stop is called.
func serve(ctx context.Context, addr string, h http.Handler) (base string, stop func(), err error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return "", nil, err
	}
	server := &http.Server{Handler: h, ReadHeaderTimeout: time.Second}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(l) // until stop
	}()
	return "http://" + l.Addr().String(), func() { server.Close(); <-done }, nil
}

// closeSoon gives handlers a moment to finish.
func closeSoon(ctx context.Context, b *bus.Bus) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := b.Close(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
}

// shown is what the report shows of the metrics.
var shown = []string{
	"eventbus_publish_confirmed_total", "eventbus_publish_dropped_total", "eventbus_subscription_handled_total",
	"eventbus_subscription_retries_total", "eventbus_subscription_failed_total", "eventbus_dead_letters_depth", "eventbus_broker_up",
	"eventbus_subscription_handling_seconds_count",
}

// report asks what an operator would ask.
func report(ctx context.Context, out io.Writer, base string) error {
	for _, path := range []string{health.LivePath, health.ReadyPath} {
		code, _, err := get(ctx, base+path)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%s says %d\n", path, code)
	}
	_, text, err := get(ctx, base+"/metrics")
	if err != nil {
		return err
	}
	all := 0
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		all++
		name, _, _ := strings.Cut(strings.Fields(line)[0], "{")
		for _, s := range shown {
			if name == s && !strings.HasSuffix(line, " 0\n") {
				fmt.Fprint(out, "  ", line)
			}
		}
	}
	fmt.Fprintf(out, "/metrics has %d lines; docs/metrics.md explains them\n", all)
	return nil
}

func get(ctx context.Context, url string) (code int, text string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, "", err
	}
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	return answer.StatusCode, string(b), err
}
