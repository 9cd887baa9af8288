package rabbitmq_test

import (
	"context"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/brokers/brokertest"
)

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
	keep  bool          // nothing is settled

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
	for _, d := range batch {
		if d.Settler != nil && !r.keep {
			_ = d.Settler.Settle(context.Background(), []brokers.Settlement{{Token: d.Token}})
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, d := range batch {
		r.seen = append(r.seen, d)
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
func subscribe(tb testing.TB, c brokers.Conn, r sink, s brokers.Subscription) (end func() error) {
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
	case <-r.isReady():
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

// A sink is what subscribe waits for.
type sink interface {
	brokers.Sink
	isReady() <-chan struct{}
}

func (r *recorder) isReady() <-chan struct{} { return r.ready }

// A failing asks for each delivery once more, after a while, and acks it then.
type failing struct {
	*recorder
	after time.Duration
	seen  map[string]bool
}

func (r *failing) Deliver(batch []brokers.Delivery) {
	if r.seen == nil {
		r.seen = make(map[string]bool)
	}
	for _, d := range batch {
		verdict := brokers.Redeliver
		if r.seen[d.ID] {
			verdict = brokers.Ack
		}
		r.seen[d.ID] = true
		_ = d.Settler.Settle(context.Background(), []brokers.Settlement{{Token: d.Token, Verdict: verdict, After: r.after}})
	}
	r.keep = true
	r.recorder.Deliver(batch)
}

func message(channel, body string) brokers.Message {
	return brokers.Message{Channel: channel, Body: []byte(body)}
}

// within returns a bound on time, as it is in full size. A run beside others shows that the thing happens at all: how soon it
// does is the machine's business there, and everywhere where the bound is 0.
func within(bound time.Duration) time.Duration {
	if bound > 0 && os.Getenv(brokertest.EnvFull) == "1" {
		return bound
	}
	return max(bound, 30*time.Second)
}
