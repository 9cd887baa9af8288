package redis_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/brokers/brokertest"
	_ "github.com/eventbus-go/eventbus/brokers/redis"
	"github.com/eventbus-go/eventbus/internal/testbroker"
)

// logged is what go-redis wrote to its log, which is the program's stderr: a library of ours must not be the reason.
var logged lines

type lines struct {
	mu   sync.Mutex
	text []string
}

func (l *lines) Printf(_ context.Context, format string, v ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, fmt.Sprintf(format, v...))
}

func TestMain(m *testing.M) {
	brokertest.Child(context.Background())
	goredis.SetLogger(&logged)
	code := m.Run()
	for _, line := range logged.text {
		if strings.Contains(line, "failed to dial") {
			fmt.Println("FAIL: the client's log was written to: " + line)
			code = 1
			break
		}
	}
	os.Exit(code)
}

// open opens a connection and closes it when the test has ended.
func open(tb testing.TB, url string) brokers.Conn {
	tb.Helper()
	c, err := brokers.Open(tb.Context(), url)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { closeConn(tb, c) })
	return c
}

func closeConn(tb testing.TB, c brokers.Conn) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), within(5*time.Second))
	defer cancel()
	if err := c.Close(ctx); err != nil {
		tb.Errorf("Close: %v", err)
	}
}

// A recorder is a sink that keeps what it sees, in order.
type recorder struct {
	ready chan struct{}
	block chan struct{} // Deliver waits until it is closed; nil means that it does not wait
	acks  bool          // Deliver settles what it gets

	mu   sync.Mutex
	seen []any // brokers.Delivery and brokers.Gap
}

func newRecorder() *recorder { return &recorder{ready: make(chan struct{})} }

func (r *recorder) Ready() { close(r.ready) }

func (r *recorder) Gap(g brokers.Gap) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen = append(r.seen, g)
}

func (r *recorder) Deliver(batch []brokers.Delivery) {
	if r.block != nil {
		<-r.block
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, d := range batch {
		r.seen = append(r.seen, d)
		if r.acks {
			_ = d.Settler.Settle(context.Background(), []brokers.Settlement{{Token: d.Token}}) // else it comes again
		}
	}
}

func (r *recorder) deliveries() []brokers.Delivery { return only[brokers.Delivery](r) }
func (r *recorder) gaps() []brokers.Gap            { return only[brokers.Gap](r) }

func only[T any](r *recorder) []T {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []T
	for _, s := range r.seen {
		if v, ok := s.(T); ok {
			out = append(out, v)
		}
	}
	return out
}

// has reports whether body was delivered.
func (r *recorder) has(body string) bool {
	for _, d := range r.deliveries() {
		if string(d.Body) == body {
			return true
		}
	}
	return false
}

// subscribe starts a subscription, waits until it is ready, and ends it when the test has ended.
func subscribe(tb testing.TB, c brokers.Conn, r *recorder, s brokers.Subscription) (end func() error) {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Subscribe(ctx, s, r) }()
	end = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	tb.Cleanup(func() {
		if err := end(); err != nil {
			tb.Errorf("Subscribe: %v", err)
		}
	})
	select {
	case <-r.ready:
	case err := <-done:
		done <- err
		tb.Fatalf("Subscribe returned before it was ready: %v", err)
	case <-time.After(within(10 * time.Second)):
		tb.Fatal("the subscription is not ready after 10 s")
	}
	return end
}

// eventually waits until ok returns true, for as long as patience says in full size; a run beside others is late at times.
func eventually(tb testing.TB, patience time.Duration, what string, ok func() bool) {
	tb.Helper()
	began := time.Now()
	deadline := began.Add(within(patience))
	for ; !ok(); began = time.Now() {
		if time.Now().After(deadline) {
			tb.Fatalf("not after %v: %s", within(patience), what)
		}
		// Looking at thousands of deliveries takes as long as receiving some, and must not be in its way.
		<-time.After(max(2*time.Millisecond, 4*time.Since(began)))
	}
}

// inject publishes as a foreign client.
func inject(tb testing.TB, server *testbroker.Redis, channel string, body any) int64 {
	tb.Helper()
	n, err := server.Client().Publish(tb.Context(), channel, body).Result()
	if err != nil {
		tb.Fatal(err)
	}
	return n
}

func message(channel, body string) brokers.Message {
	return brokers.Message{Channel: channel, Body: []byte(body)}
}

func messages(n int, channel string) []brokers.Message {
	out := make([]brokers.Message, n)
	for i := range out {
		out[i] = message(channel, fmt.Sprintf("body-%d", i))
	}
	return out
}

// calls is how often the server has executed a command.
func calls(tb testing.TB, server *testbroker.Redis, command string) int {
	tb.Helper()
	stats, err := server.Client().Info(tb.Context(), "commandstats").Result()
	if err != nil {
		tb.Fatal(err)
	}
	for line := range strings.Lines(stats) {
		var n int
		if _, err := fmt.Sscanf(line, "cmdstat_"+command+":calls=%d,", &n); err == nil {
			return n
		}
	}
	return 0
}

// within returns a bound on time, as it is in full size. A run beside others shows that the thing happens at all: how soon it
// does is the machine's business there.
func within(bound time.Duration) time.Duration {
	if os.Getenv(brokertest.EnvFull) == "1" {
		return bound
	}
	return max(bound, 30*time.Second)
}
