package bus_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/brokers/memory"
	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/router"
	"github.com/eventbus-go/eventbus/schema"
)

// channels of the tests: every event goes to x.all, and by its type to x.a and x.b.
var testRules = router.Config{Prefix: "x", Rules: []router.Rule{
	{Match: []string{"a.>"}, Channels: []string{"a"}},
	{Match: []string{"b.>"}, Channels: []string{"b"}},
	{Match: []string{">"}, Channels: []string{"all"}},
}}

// patience is how long a test waits for what must happen before it says that it did not.
const patience = time.Minute

// A world is a bus over a memory broker, and the connection for what the bus itself would not send.
type world struct {
	*bus.Bus
	t    *testing.T
	conn brokers.Conn
	log  *strings.Builder
}

func newWorld(t *testing.T, opts ...bus.Option) *world {
	t.Helper()
	w := &world{t: t, conn: memory.New(), log: &strings.Builder{}}
	log := slog.New(slog.NewTextHandler(&lockedWriter{w: w.log}, nil))
	b, err := bus.New(t.Context(), w.conn, bus.Config{Config: testRules}, append([]bus.Option{bus.WithLogger(log)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	w.Bus = b
	t.Cleanup(func() { b.Close(ended()) })
	return w
}

type lockedWriter struct {
	mu sync.Mutex
	w  *strings.Builder
}

func (w *lockedWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.w.Write(p)
}

// ended is a context that has ended.
func ended() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

func (w *world) subscribe(s bus.Subscription) *bus.Sub {
	w.t.Helper()
	sub, err := w.Subscribe(s)
	if err != nil {
		w.t.Fatal(err)
	}
	return sub
}

// run starts the bus and waits until it is ready.
func (w *world) run() {
	w.t.Helper()
	failed := make(chan error, 1)
	go func() { failed <- w.Run(w.t.Context()) }()
	select {
	case <-w.Ready():
	case err := <-failed:
		w.t.Fatalf("Run returned %v", err)
	}
}

func (w *world) emit(events ...schema.Event) {
	w.t.Helper()
	if err := w.Emit(w.t.Context(), events...); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) close() {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := w.Close(ctx); err != nil {
		w.t.Errorf("Close: %v", err)
	}
	w.balanced()
}

func (w *world) balanced() {
	w.t.Helper()
	st := w.Stats()
	if !st.Published.Balanced() {
		w.t.Errorf("the ledger does not balance: %+v", st.Published)
	}
	for name, s := range st.Subscriptions {
		if !s.Balanced() {
			w.t.Errorf("the books of %s do not balance: %+v", name, s)
		}
	}
}

// until waits for a condition that something else brings about.
func (w *world) until(what string, ok func() bool) {
	w.t.Helper()
	deadline := time.Now().Add(patience)
	for !ok() {
		if time.Now().After(deadline) {
			w.t.Fatalf("after %v still not: %s; %+v", patience, what, w.Stats())
		}
		runtime.Gosched()
		time.Sleep(time.Millisecond)
	}
}

func event(eventType, subject string) schema.Event {
	return schema.Event{Type: eventType, Subject: subject, Data: json.RawMessage(`{"n":1}`)}
}

func total[K comparable](m map[K]int64) (n int64) {
	for _, v := range m {
		n += v
	}
	return n
}

// inject publishes a body that the bus would not.
func (w *world) inject(channel, body string) {
	w.t.Helper()
	if err := w.conn.Publish(w.t.Context(), []brokers.Message{{ID: "x", Channel: channel, Key: "x", Body: []byte(body)}}); err != nil {
		w.t.Fatal(err)
	}
}
