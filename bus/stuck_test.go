package bus_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/brokers/memory"
	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/router"
	"github.com/eventbus-go/eventbus/schema"
	"github.com/eventbus-go/eventbus/store/deadletter"
)

// A hanging handler blocks on each event whose subject is "bad" until it is released, whatever its context says.
type hanging struct {
	release chan struct{}
	result  func() error

	mu    sync.Mutex
	calls []string
}

func newHanging() *hanging { return &hanging{release: make(chan struct{})} }

func (h *hanging) handle(_ context.Context, e schema.Event) error {
	h.mu.Lock()
	h.calls = append(h.calls, e.ID)
	h.mu.Unlock()
	if e.Subject != "bad" || strings.HasPrefix(e.ID, "behind") {
		time.Sleep(10 * time.Millisecond)
		return nil
	}
	<-h.release
	if h.result != nil {
		return h.result()
	}
	return nil
}

func (h *hanging) called(id string) (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, c := range h.calls {
		if c == id {
			n++
		}
	}
	return n
}

func subOf(b *bus.Bus) bus.SubscriptionStats { return b.Stats().Subscriptions["s"] }

// The others have what they had before: a worker takes the place of the one that is lost. A second of time and a second of patience.
func TestAHandlerThatIgnoresItsContextIsDeadLetteredAndItsWorkerReplaced(t *testing.T) {
	store, h := deadletter.NewMemory(0, 0), (*hanging)(nil)
	start := func() brokers.Conn { h = newHanging(); return memory.New() }
	bubble(t, start, store, []bus.Subscription{{
		Name: "s", Channels: []string{"x.all"}, Concurrency: 4, Timeout: time.Second, Stuck: bus.StuckPolicy{After: time.Second},
		Handler: func(ctx context.Context, e schema.Event) error { return h.handle(ctx, e) },
	}}, func(t *testing.T, b *bus.Bus) {
		const events = 2000
		round := func() time.Duration {
			began, before := time.Now(), subOf(b).Handled
			for i := range events {
				emit(t, b, event("a.b", fmt.Sprint("user:", i)))
			}
			for subOf(b).Handled < before+events {
				time.Sleep(time.Millisecond)
			}
			return time.Since(began)
		}
		healthy := round()
		emit(t, b, named("bad", "bad"), named("behind", "bad"))
		during := round()
		time.Sleep(time.Second)
		after := round()
		if ratio := float64(healthy) / float64(after); ratio < 0.95 {
			t.Errorf("the others have %.2f of their throughput: %v became %v, with the worker missing %v", ratio, healthy, after, during)
		}
		if st := subOf(b); st.Stuck != 1 || st.Failed != 1 || st.DeadLettered != 1 || st.Late != 0 || h.called("behind") != 0 {
			t.Errorf("the books say %+v; the event behind it was handled %d times", st, h.called("behind"))
		}
		got := lettersOf(t, store)
		if len(got) != 1 || got[0].EventID != "bad" || got[0].Reason != deadletter.ReasonStuck || got[0].Attempts != 1 {
			t.Errorf("the letters are %+v", got)
		}
		close(h.release)
		time.Sleep(time.Second)
		if st := subOf(b); st.Late != 1 || st.Failed != 1 || st.InFlight != 0 || h.called("behind") != 1 || h.called("bad") != 1 {
			t.Errorf("when it has returned: %+v; handled %d and %d times", st, h.called("bad"), h.called("behind"))
		}
	})
}

// settlements counts what a broker is told of each delivery.
type settlements struct {
	brokers.Conn
	mu     sync.Mutex
	counts map[brokers.Token]int
}

func (c *settlements) Subscribe(ctx context.Context, s brokers.Subscription, sink brokers.Sink) error {
	return c.Conn.Subscribe(ctx, s, countingSink{sink, c})
}

type countingSink struct {
	brokers.Sink
	c *settlements
}

func (s countingSink) Deliver(batch []brokers.Delivery) {
	for i := range batch {
		batch[i].Settler = countingSettler{batch[i].Settler, s.c}
	}
	s.Sink.Deliver(batch)
}

type countingSettler struct {
	brokers.Settler
	c *settlements
}

func (s countingSettler) Settle(ctx context.Context, what []brokers.Settlement) error {
	s.c.mu.Lock()
	for _, w := range what {
		s.c.counts[w.Token]++
	}
	s.c.mu.Unlock()
	return s.Settler.Settle(ctx, what)
}

// Whatever a handler returns at last, its event is settled, and stays so.
func TestTheResultOfAHandlerThatWasGivenUpIsIgnored(t *testing.T) {
	for name, result := range map[string]func() error{
		"success":   func() error { return nil },
		"an error":  func() error { return errors.New("late") },
		"a drop":    func() error { return bus.Drop(errors.New("late")) },
		"a panic":   func() error { panic("late") },
		"no return": func() error { runtime.Goexit(); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			store, h, conn := deadletter.NewMemory(0, 0), (*hanging)(nil), (*settlements)(nil)
			start := func() brokers.Conn {
				h = newHanging()
				h.result = result
				conn = &settlements{Conn: memory.New(), counts: make(map[brokers.Token]int)}
				return conn
			}
			bubble(t, start, store, []bus.Subscription{{
				Name: "s", Channels: []string{"x.all", "x.a"}, Concurrency: 1, Timeout: time.Second,
				Stuck:   bus.StuckPolicy{After: time.Second},
				Handler: func(ctx context.Context, e schema.Event) error { return h.handle(ctx, e) },
			}}, func(t *testing.T, b *bus.Bus) {
				emit(t, b, named("bad", "bad"), named("behind", "bad"), named("other", "other"))
				time.Sleep(time.Minute)
				close(h.release)
				time.Sleep(time.Hour)
				if st := subOf(b); st.Stuck != 1 || st.Late != 1 || st.Failed != 1 || st.Handled != 2 || st.Duplicate != 3 || st.InFlight != 0 {
					t.Errorf("the books say %+v", st)
				}
				if n := len(lettersOf(t, store)); n != 1 || h.called("bad") != 1 {
					t.Errorf("%d letters; it was called %d times", n, h.called("bad"))
				}
				conn.mu.Lock()
				defer conn.mu.Unlock()
				for token, n := range conn.counts {
					if n != 1 {
						t.Errorf("%+v was settled %d times", token, n)
					}
				}
			})
		})
	}
}

func TestAPolicyReleasesTheKeyOfAHandlerThatWasGivenUp(t *testing.T) {
	var h *hanging
	start := func() brokers.Conn { h = newHanging(); return memory.New() }
	bubble(t, start, deadletter.NewMemory(0, 0), []bus.Subscription{{
		Name: "s", Channels: []string{"x.all"}, Concurrency: 1, Timeout: time.Second,
		Stuck:   bus.StuckPolicy{After: time.Second, ReleaseKey: true},
		Handler: func(ctx context.Context, e schema.Event) error { return h.handle(ctx, e) },
	}}, func(t *testing.T, b *bus.Bus) {
		emit(t, b, named("bad", "bad"), named("behind", "bad"))
		time.Sleep(time.Second)
		if n := h.called("behind"); n != 0 {
			t.Errorf("the event behind it was handled %d times before its time was over", n)
		}
		time.Sleep(2 * time.Second)
		if st := subOf(b); h.called("behind") != 1 || st.Late != 0 || st.InFlight != 0 {
			t.Errorf("the event behind it was handled %d times; the books say %+v", h.called("behind"), st)
		}
		close(h.release)
		time.Sleep(time.Second)
		if st := subOf(b); st.Late != 1 {
			t.Errorf("the books say %+v", st)
		}
	})
}

// Attempts are timed one by one: an event that is tried for longer than the bound, with waits in between, is not stuck, and the
// letter of one that is says at which attempt.
func TestOnlyAnAttemptCanBeStuck(t *testing.T) {
	store := deadletter.NewMemory(0, 0)
	var release chan struct{}
	start := func() brokers.Conn { release = make(chan struct{}); return memory.New() }
	bubble(t, start, store, []bus.Subscription{{
		Name: "s", Channels: []string{"x.all"}, Timeout: time.Second, Stuck: bus.StuckPolicy{After: time.Second},
		Retry: bus.RetryPolicy{Attempts: 6, InPlace: time.Minute, Backoff: bus.Backoff{Min: 5 * time.Second, Max: 5 * time.Second, NoJitter: true}},
		Handler: func(ctx context.Context, e schema.Event) error {
			<-ctx.Done()
			if n := router.Attempt(ctx); e.ID == "hangs" && n == 4 {
				<-release
			} else if n == 6 {
				return nil
			}
			return ctx.Err()
		},
	}}, func(t *testing.T, b *bus.Bus) {
		emit(t, b, named("slow", "user:1"), named("hangs", "user:2"))
		time.Sleep(time.Minute)
		got := lettersOf(t, store)
		if st := subOf(b); st.Handled != 1 || st.Stuck != 1 || len(got) != 1 || got[0].EventID != "hangs" || got[0].Attempts != 4 {
			t.Errorf("the books say %+v, and the letters %+v", st, got)
		}
		close(release)
		time.Sleep(time.Second)
	})
}

// On a broker that keeps events the letter comes first: while it cannot be written, nothing is acknowledged, and others wait.
func TestTheLetterOfAStuckEventIsWrittenBeforeItsAck(t *testing.T) {
	store, h, conn := newMoodyStore(), (*hanging)(nil), (*settlements)(nil)
	start := func() brokers.Conn {
		h = newHanging()
		conn = &settlements{Conn: memory.New(), counts: make(map[brokers.Token]int)}
		return conn
	}
	settled := func() int { conn.mu.Lock(); defer conn.mu.Unlock(); return len(conn.counts) }
	bubble(t, start, store, []bus.Subscription{{
		Name: "s", Channels: []string{"x.all"}, Timeout: time.Second, Stuck: bus.StuckPolicy{After: time.Second},
		Handler: func(ctx context.Context, e schema.Event) error { return h.handle(ctx, e) },
	}}, func(t *testing.T, b *bus.Bus) {
		store.away.Store(true)
		emit(t, b, named("bad", "bad"))
		time.Sleep(time.Minute)
		if settled() != 0 || store.triesOf("bad") < 10 {
			t.Errorf("%d were settled after %d tries of the letter", settled(), store.triesOf("bad"))
		}
		store.away.Store(false)
		time.Sleep(2 * time.Second)
		if settled() != 1 || len(lettersOf(t, store)) != 1 {
			t.Errorf("%d were settled, %d letters", settled(), len(lettersOf(t, store)))
		}
		close(h.release)
		time.Sleep(time.Second)
	})
}

// Close waits for no handler that was given up, gives back what waits behind it, and names it.
func TestCloseNamesTheEventOfAHandlerThatWasGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHanging()
		b, err := bus.New(t.Context(), memory.New(), bus.Config{Config: testRules})
		if err != nil {
			t.Fatal(err)
		}
		sub, err := b.Subscribe(bus.Subscription{
			Name: "s", Channels: []string{"x.all"}, Timeout: time.Second, Stuck: bus.StuckPolicy{After: time.Second}, Handler: h.handle,
		})
		if err := errors.Join(err, b.Start(t.Context())); err != nil {
			t.Fatal(err)
		}
		emit(t, b, named("bad", "bad"), named("behind 1", "bad"), named("behind 2", "bad"), named("other", "other"))
		time.Sleep(10 * time.Second)
		began := time.Now()
		err = b.Close(t.Context())
		left := new(bus.CloseError)
		want := []bus.HandlerLeft{{Subscription: "s", EventID: "bad", EventType: "a.b", Channel: "x.all", Stuck: true}}
		if !errors.As(err, &left) || !slices.Equal(left.Handlers, want) || !errors.Is(err, bus.ErrStuck) ||
			!strings.Contains(err.Error(), "s (event bad)") || time.Since(began) > time.Second {
			t.Errorf("after %v Close returned %v", time.Since(began), err)
		}
		if st := sub.Stats(); st.Redelivered != 2 || st.Handled != 1 || st.InFlight != 0 || !st.Balanced() || h.called("behind 1") != 0 {
			t.Errorf("the books say %+v", st)
		}
		close(h.release)
		synctest.Wait()
		if st := sub.Stats(); st.Late != 1 || !st.Balanced() {
			t.Errorf("when it has returned: %+v", st)
		}
	})
}

// A shutdown without a deadline ends nevertheless.
func TestAHandlerIsGivenUpDuringAShutdownToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, store := newHanging(), deadletter.NewMemory(0, 0)
		b, err := bus.New(t.Context(), memory.New(), bus.Config{Config: testRules}, bus.WithDeadLetters(store))
		if err != nil {
			t.Fatal(err)
		}
		_, err = b.Subscribe(bus.Subscription{Name: "s", Channels: []string{"x.all"}, Handler: h.handle})
		if err := errors.Join(err, b.Start(t.Context())); err != nil {
			t.Fatal(err)
		}
		emit(t, b, named("bad", "bad"))
		synctest.Wait()
		began := time.Now()
		err = b.Close(t.Context())
		bound := bus.DefaultHandlerTimeout + bus.DefaultStuckAfter
		if took := time.Since(began); !errors.Is(err, bus.ErrStuck) || took < bound || took > bound+5*time.Second {
			t.Errorf("after %v Close returned %v", took, err)
		}
		if got := lettersOf(t, store); len(got) != 1 || got[0].Reason != deadletter.ReasonStuck {
			t.Errorf("the letters are %+v", got)
		}
		close(h.release)
	})
}

// NoTimeout, or NeverStuck, waits for as long as it takes.
func TestAHandlerMayTakeAsLongAsItTakes(t *testing.T) {
	for name, s := range map[string]bus.Subscription{
		"without a timeout": {Timeout: bus.NoTimeout},
		"never stuck":       {Stuck: bus.StuckPolicy{After: bus.NeverStuck}},
	} {
		t.Run(name, func(t *testing.T) {
			var handled atomic.Int64
			s.Name, s.Channels = "s", []string{"x.all"}
			s.Handler = func(context.Context, schema.Event) error { time.Sleep(24 * time.Hour); handled.Add(1); return nil }
			bubble(t, inMemory, deadletter.NewMemory(0, 0), []bus.Subscription{s}, func(t *testing.T, b *bus.Bus) {
				emit(t, b, named("long", "user:1"))
				time.Sleep(25 * time.Hour)
				if st := subOf(b); st.Handled != 1 || st.Stuck != 0 {
					t.Errorf("the books say %+v", st)
				}
			})
		})
	}
}

func TestStuckPoliciesAreReadAndWritten(t *testing.T) {
	for text, want := range map[string]bus.StuckPolicy{
		"never":               {After: bus.NeverStuck},
		"30s":                 {After: 30 * time.Second},
		"release key":         {ReleaseKey: true},
		" 5m ,  release key ": {After: 5 * time.Minute, ReleaseKey: true},
		"release key, 1s":     {After: time.Second, ReleaseKey: true},
	} {
		got, err := bus.ParseStuckPolicy(text)
		if err != nil || got != want {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
		if want.After == 0 {
			want.After = bus.DefaultStuckAfter
		}
		if again, err := bus.ParseStuckPolicy(got.Text()); err != nil || again != want {
			t.Errorf("%q is written as %q and read as %+v, %v", text, got.Text(), again, err)
		}
	}
	for _, text := range []string{"", "soon", "30s, 40s", "-1s", "release", "release key, release key", "never, release key"} {
		if p, err := bus.ParseStuckPolicy(text); err == nil || !strings.Contains(err.Error(), `"30s, release key"`) {
			t.Errorf("%q: %+v, %v", text, p, err)
		}
	}
}

func TestAStuckPolicyWithoutATimeoutIsRefused(t *testing.T) {
	w := newWorld(t)
	_, err := w.Subscribe(bus.Subscription{
		Name: "s", Channels: []string{"x.all"}, Timeout: bus.NoTimeout, Stuck: bus.StuckPolicy{After: time.Second},
		Handler: func(context.Context, schema.Event) error { return nil },
	})
	if err == nil || !strings.Contains(err.Error(), "set a Timeout") {
		t.Errorf("got %v", err)
	}
}
