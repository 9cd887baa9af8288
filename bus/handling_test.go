package bus_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/brokers/memory"
	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/router"
	"github.com/eventbus-go/eventbus/router/middleware"
	"github.com/eventbus-go/eventbus/schema"
)

// channels of the tests: every event goes to x.all, and by its type to x.a and x.b.
var testRules = router.Config{Prefix: "x", Rules: []router.Rule{
	{Match: []string{"a.>"}, Channels: []string{"a"}},
	{Match: []string{"b.>"}, Channels: []string{"b"}},
	{Match: []string{">"}, Channels: []string{"all"}},
}}

// patience is how long a test waits for what must happen before it says that it did not.
const patience = 20 * time.Second

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

func TestHandlersOfOneSubscriptionRunUpToNAtOnceAndNeverTwoOfOneKey(t *testing.T) {
	w := newWorld(t)
	const workers, keys, events = 5, 40, 4000
	var mu sync.Mutex
	running, most := map[string]int{}, 0
	order := map[string][]string{}
	sub := w.subscribe(bus.Subscription{
		Name: "s", Channels: []string{"x.all"}, Concurrency: workers,
		Handler: func(ctx context.Context, e schema.Event) error {
			mu.Lock()
			running[e.Subject]++
			if running[e.Subject] > 1 {
				t.Errorf("two handlers of %s run at once", e.Subject)
			}
			n := 0
			for _, r := range running {
				n += r
			}
			most = max(most, n)
			order[e.Subject] = append(order[e.Subject], e.ID)
			mu.Unlock()
			time.Sleep(time.Duration(rand.IntN(100)) * time.Microsecond)
			mu.Lock()
			running[e.Subject]--
			mu.Unlock()
			return nil
		},
	})
	w.run()
	want := map[string][]string{}
	for i := range events {
		e := event("a.b", fmt.Sprintf("user:%d", rand.IntN(keys)))
		e.ID = fmt.Sprintf("id-%d", i)
		want[e.Subject] = append(want[e.Subject], e.ID)
		w.emit(e)
	}
	w.until("everything handled", func() bool { return sub.Stats().Handled == events })
	w.close()
	for key := range want {
		if !slices.Equal(order[key], want[key]) {
			t.Errorf("%s was handled in the order %v, want %v", key, order[key], want[key])
		}
	}
	if most != workers {
		t.Errorf("at most %d handlers ran at once, want %d", most, workers)
	}
}

func TestASlowKeyHoldsUpNoOther(t *testing.T) {
	w := newWorld(t)
	slow, others := make(chan struct{}), atomic.Int64{}
	w.subscribe(bus.Subscription{
		Name: "s", Channels: []string{"x.all"}, Concurrency: 2,
		Handler: func(ctx context.Context, e schema.Event) error {
			if e.Subject == "slow" {
				<-slow
			} else {
				others.Add(1)
			}
			return nil
		},
	})
	w.run()
	for i := range 1000 {
		if i%10 == 0 && i < 500 { // 50 of them: they wait for each other, in one worker
			w.emit(event("a.b", "slow"))
		}
		w.emit(event("a.b", fmt.Sprint("fast:", i)))
	}
	w.until("the others handled while the slow key waits", func() bool { return others.Load() == 1000 })
	close(slow)
	w.close()
}

func TestAnEventThatArrivesOnSeveralChannelsIsHandledOnce(t *testing.T) {
	w := newWorld(t)
	var handled sync.Map
	sub := w.subscribe(bus.Subscription{
		Name: "s", Channels: []string{"x.*"},
		Handler: func(ctx context.Context, e schema.Event) error {
			if _, again := handled.LoadOrStore(e.ID, true); again {
				t.Errorf("%s was handled twice", e.ID)
			}
			return nil
		},
	})
	w.run()
	for i := range 1000 {
		w.emit(event("a.b", fmt.Sprint("user:", i%7)))
	}
	w.until("all copies received", func() bool { st := sub.Stats(); return st.Handled+st.Duplicate == 2000 })
	w.close()
	if st := sub.Stats(); st.Handled != 1000 || st.Duplicate != 1000 {
		t.Errorf("1,000 events on two channels each: %+v", st)
	}
}

func TestASecondCopyWaitsForTheOutcomeOfTheFirst(t *testing.T) {
	// Suppose that a copy with another subject, and so another key, arrives while the first is being handled: it is no new
	// event, but whether it has been handled is not known before the first has returned.
	w := newWorld(t)
	first, entered := make(chan struct{}), make(chan string, 10)
	sub := w.subscribe(bus.Subscription{
		Name: "s", Channels: []string{"x.*"},
		Handler: func(ctx context.Context, e schema.Event) error {
			entered <- e.Subject
			if e.ID == "1" {
				<-first
			}
			return nil
		},
	})
	w.run()
	send := func(id, subject string) {
		e := event("c.d", subject) // only to x.all
		e.ID = id
		w.emit(e)
	}
	send("1", "user:1")
	<-entered
	send("1", "user:2")
	send("2", "user:2") // of the same key as the copy
	if got := <-entered; got != "user:2" {
		t.Fatalf("%s was handled; the copy must not hold up its key", got)
	}
	if st := sub.Stats(); st.Duplicate != 0 {
		t.Errorf("the copy was settled before the first one's outcome was known")
	}
	close(first)
	w.until("the copy settled", func() bool { return sub.Stats().Duplicate == 1 })
	w.close()
	if st := sub.Stats(); st.Handled != 2 {
		t.Errorf("handled %d, want 2", st.Handled)
	}
}

func TestWhatAHandlerReturnsIsWhatItGets(t *testing.T) {
	boom := errors.New("boom")
	for _, test := range []struct {
		name     string
		err      error
		attempts int64
		count    func(bus.SubscriptionStats) int64
		failed   bool
	}{
		{"nil settles", nil, 1, func(s bus.SubscriptionStats) int64 { return s.Handled }, false},
		{"any error is retried", boom, 3, func(s bus.SubscriptionStats) int64 { return s.Failed }, true},
		{"Permanent is not", bus.Permanent(boom), 1, func(s bus.SubscriptionStats) int64 { return s.Failed }, true},
		{"not even deep inside", fmt.Errorf("deep: %w", bus.Permanent(boom)), 1, func(s bus.SubscriptionStats) int64 { return s.Failed }, true},
		{"Drop is counted as dropped", bus.Drop(boom), 1, func(s bus.SubscriptionStats) int64 { return s.Dropped[bus.DropByHandler] }, false},
		{"RetryAfter is retried", bus.RetryAfter(boom, time.Millisecond), 3, func(s bus.SubscriptionStats) int64 { return s.Failed }, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			hook := make(chan bus.Failed, 10)
			w := newWorld(t, bus.WithHooks(bus.Hooks{Failed: func(f bus.Failed) { hook <- f }}))
			var attempts atomic.Int64
			sub := w.subscribe(bus.Subscription{
				Name: "s", Channels: []string{"x.all"},
				Retry: middleware.Policy{Attempts: 3, Backoff: middleware.Backoff{Min: time.Microsecond, Max: time.Microsecond}},
				Handler: func(context.Context, schema.Event) error {
					attempts.Add(1)
					return test.err
				},
			})
			w.run()
			w.emit(event("a.b", "user:1"))
			w.until("the event settled", func() bool { return test.count(sub.Stats()) == 1 })
			w.close()
			if got := attempts.Load(); got != test.attempts || sub.Stats().Retries != got-1 {
				t.Errorf("%d attempts and %d retries, want %d attempts", got, sub.Stats().Retries, test.attempts)
			}
			if !test.failed {
				if len(hook) > 0 {
					t.Error("the Failed hook was called")
				}
				return
			}
			f := <-hook
			if f.Subscription != "s" || f.Channel != "x.all" || f.Attempts != int(test.attempts) || !errors.Is(f.Err, boom) || f.Event.Type != "a.b" {
				t.Errorf("the Failed hook was told %+v", f)
			}
		})
	}
}

var nilMap map[string]int

func TestPanicsAreContainedCountedAndTheirStackLoggedOnce(t *testing.T) {
	var hooks atomic.Int64
	w := newWorld(t, bus.WithHooks(bus.Hooks{
		Failed:    func(bus.Failed) { hooks.Add(1); panic("in the Failed hook") },
		Malformed: func(bus.Malformed) { hooks.Add(1); panic("in the Malformed hook") },
	}))
	sub := w.subscribe(bus.Subscription{
		Name: "s", Channels: []string{"x.all"}, Retry: middleware.Policy{Attempts: 1},
		Handler: func(_ context.Context, e schema.Event) error {
			switch e.Subject {
			case "nil map":
				nilMap["a"] = 1
			case "value":
				panic(e.Subject)
			case "goexit":
				runtime.Goexit()
			}
			return nil
		},
	})
	w.run()
	for range 20 {
		for _, subject := range []string{"nil map", "value", "goexit", "fine"} {
			w.emit(event("a.b", subject))
		}
	}
	w.inject("x.all", "{")
	w.until("everything settled", func() bool {
		st := sub.Stats()
		return st.Handled == 20 && st.Failed == 60 && total(st.Malformed) == 1
	})
	w.close()
	if st := sub.Stats(); st.Panics != 40 {
		t.Errorf("%d panics of the handler counted, want 40", st.Panics)
	}
	if got := w.Stats().Panics; got != 61 || hooks.Load() != 61 {
		t.Errorf("%d panics of hooks counted, want 61 for %d calls", got, hooks.Load())
	}
	if n := strings.Count(w.log.String(), " stack="); n != 3 {
		t.Errorf("%d stacks were logged, want one for each of three places:\n%s", n, w.log)
	}
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

func TestWhatIsNotAnEventIsCountedByItsReasonAndHandedToTheHook(t *testing.T) {
	var mu sync.Mutex
	bodies := map[brokers.Reason]string{}
	w := newWorld(t, bus.WithHooks(bus.Hooks{Malformed: func(m bus.Malformed) {
		mu.Lock()
		defer mu.Unlock()
		if m.Subscription != "s" || m.Channel != "x.all" {
			t.Errorf("the hook was told %+v", m)
		}
		bodies[m.Reason] = string(m.Body)
	}}))
	sub := w.subscribe(bus.Subscription{Name: "s", Channels: []string{"x.all"}, Handler: func(context.Context, schema.Event) error { return nil }})
	w.run()
	good := func(member string) string {
		return `{"event_id":"1","event_type":"a.b","timestamp":"2025-11-03T10:30:00Z","source":"s","priority":"low",` + member + `"data":{}}`
	}
	bad := map[brokers.Reason]string{
		"syntax":         "{",
		"utf8":           good("\"x\":\"\xff\","),
		"depth":          good(`"x":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + ","),
		"duplicate_key":  good(`"event_id":"2",`),
		"trailing_bytes": good("") + "x",
		"missing_field":  `{"event_id":"1"}`,
		"bad_field":      good(`"subject":7,`),
		"too_large":      good(`"x":"` + strings.Repeat("x", 2<<20) + `",`),
	}
	for _, body := range bad {
		w.inject("x.all", body)
		w.inject("x.all", good(""))
	}
	w.until("everything received", func() bool { return sub.Stats().Received == int64(2*len(bad)) && sub.Stats().InFlight == 0 })
	w.close()
	st := sub.Stats()
	if st.Handled != int64(len(bad)) {
		t.Errorf("%d good ones between were handled, want %d", st.Handled, len(bad))
	}
	for reason, body := range bad {
		if st.Malformed[reason] != 1 {
			t.Errorf("%s: counted %v", reason, st.Malformed)
		}
		if got := bodies[reason]; !strings.HasPrefix(body, got) || got == "" {
			t.Errorf("%s: the hook was given %.80q", reason, got)
		}
	}
}

func TestCloseLetsHandlersFinishWhatWasReceivedAndPublishToTheLast(t *testing.T) {
	w := newWorld(t)
	const events = 200
	release := make(chan struct{})
	var derived atomic.Int64
	first := w.subscribe(bus.Subscription{
		Name: "first", Channels: []string{"x.a"}, Concurrency: 3,
		Handler: func(ctx context.Context, e schema.Event) error {
			<-release
			if ctx.Err() != nil {
				t.Error("the handler's context ended in a shutdown that had time left")
			}
			derived.Add(1)
			return w.Publish(ctx, event("b.c", e.Subject))
		},
	})
	w.run()
	for i := range events {
		w.emit(event("a.b", fmt.Sprint("user:", i)))
	}
	w.until("everything received", func() bool { return first.Stats().Received == events })
	closed := make(chan struct{})
	go func() { w.close(); close(closed) }()
	w.until("the bus is closing", func() bool { _, err := w.Subscribe(bus.Subscription{Name: "x"}); return err != nil })
	close(release)
	<-closed
	if st := first.Stats(); st.Handled != events || derived.Load() != events {
		t.Errorf("%d handled, %d published from handlers, want %d each", st.Handled, derived.Load(), events)
	}
	if led := w.Stats().Published; led.Confirmed != 4*events {
		t.Errorf("the ledger says %+v, want %d confirmed", led, 4*events)
	}
	if err := w.Emit(t.Context(), event("a.b", "late")); !errors.Is(err, bus.ErrClosed) {
		t.Errorf("Emit after Close returned %v, want ErrClosed", err)
	}
}

func TestCloseReturnsByItsDeadlineAndNamesTheHandlerThatDoesNot(t *testing.T) {
	w := newWorld(t)
	stuck, entered := make(chan struct{}), make(chan struct{})
	defer close(stuck)
	w.subscribe(bus.Subscription{
		Name: "stuck one", Channels: []string{"x.a"},
		Handler: func(ctx context.Context, e schema.Event) error { close(entered); <-stuck; return nil },
	})
	w.subscribe(bus.Subscription{
		Name: "other", Channels: []string{"x.a"}, Handler: func(ctx context.Context, e schema.Event) error { return nil },
	})
	w.run()
	w.emit(event("a.b", "user:1"))
	<-entered
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	start := time.Now()
	err := w.Close(ctx)
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("Close with a deadline of 200ms took %v", took)
	}
	var ce *bus.CloseError
	if !errors.As(err, &ce) || len(ce.Handlers) != 1 || ce.Handlers[0].Subscription != "stuck one" ||
		ce.Handlers[0].EventID == "" || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Close returned %v, want an error that names the handler", err)
	}
	w.balanced()
}

func TestCloseNamesTheHandlerAlsoWhereItsDeadlineHasPassed(t *testing.T) {
	var closing sync.WaitGroup
	for range 20 {
		w := newWorld(t)
		stuck, entered := make(chan struct{}), make(chan struct{})
		defer close(stuck)
		w.subscribe(bus.Subscription{
			Name: "stuck one", Channels: []string{"x.a"},
			Handler: func(ctx context.Context, e schema.Event) error { close(entered); <-stuck; return nil },
		})
		w.run()
		w.emit(event("a.b", "user:1"))
		<-entered
		closing.Go(func() {
			var ce *bus.CloseError
			if err := w.Close(ended()); !errors.As(err, &ce) || len(ce.Handlers) != 1 || ce.Handlers[0].Subscription != "stuck one" {
				t.Errorf("Close returned %v, want an error that names the handler", err)
			}
		})
	}
	closing.Wait()
}

func TestAHandlerThatObeysItsContextIsInterruptedWhenTheDeadlinePasses(t *testing.T) {
	w := newWorld(t)
	entered := make(chan struct{}, 100)
	sub := w.subscribe(bus.Subscription{
		Name: "s", Channels: []string{"x.a"}, Concurrency: 1, Group: "g",
		Handler: func(ctx context.Context, e schema.Event) error {
			entered <- struct{}{}
			<-ctx.Done()
			return ctx.Err()
		},
	})
	w.run()
	for i := range 10 {
		w.emit(event("a.b", fmt.Sprint("user:", i)))
	}
	<-entered
	w.until("everything received", func() bool { return sub.Stats().Received == 10 })
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	w.Close(ctx)
	w.balanced()
	if st := sub.Stats(); st.Redelivered != 10 || st.Failed != 0 || len(entered) != 0 {
		t.Errorf("a shutdown gives back what was not handled: %+v, %d more handlers began", st, len(entered))
	}
}

func TestAWaitingRetryDoesNotHoldUpAShutdown(t *testing.T) {
	w := newWorld(t)
	failed := make(chan struct{}, 10)
	sub := w.subscribe(bus.Subscription{
		Name: "s", Channels: []string{"x.a"},
		Retry:   middleware.Policy{Attempts: 2, Backoff: middleware.Backoff{Min: time.Hour, Max: time.Hour}, MaxWait: time.Hour},
		Handler: func(context.Context, schema.Event) error { failed <- struct{}{}; return bus.RetryAfter(nil, time.Hour) },
	})
	w.run()
	w.emit(event("a.b", "user:1"))
	<-failed
	start := time.Now()
	w.close()
	if took := time.Since(start); took > patience/2 {
		t.Errorf("Close took %v", took)
	}
	if st := sub.Stats(); st.Redelivered+total(st.Dropped) != 1 || st.Failed != 0 {
		t.Errorf("an interrupted event is not a failed one: %+v", st)
	}
}

func TestSubscribeRefusesWithEveryReasonAtOnce(t *testing.T) {
	w := newWorld(t)
	handler := func(context.Context, schema.Event) error { return nil }
	w.subscribe(bus.Subscription{Name: "taken", Channels: []string{"x.a"}, Handler: handler})
	for name, test := range map[string]struct {
		sub  bus.Subscription
		want []string
	}{
		"nothing set":       {bus.Subscription{}, []string{"there is no Name", "there is no handler", "nothing is subscribed to"}},
		"taken name":        {bus.Subscription{Name: "taken", Channels: []string{"x.a"}, Handler: handler}, []string{`"taken"`, "unique"}},
		"bad pattern":       {bus.Subscription{Name: "s", Channels: []string{"x..a"}, Handler: handler}, []string{"Channels[0]"}},
		"no common channel": {bus.Subscription{Name: "s", Events: []string{"Nope"}, Handler: handler}, []string{"Events[0]"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := w.Subscribe(test.sub)
			for _, want := range test.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("refused with %v, want it to say %q", err, want)
				}
			}
		})
	}
	w.run()
	if _, err := w.Subscribe(bus.Subscription{Name: "late", Channels: []string{"x.a"}, Handler: handler}); err == nil {
		t.Error("a subscription was added to a running bus, where it would never receive anything")
	}
	if err := w.Run(t.Context()); !errors.Is(err, bus.ErrRunning) {
		t.Errorf("a second Run returned %v, want ErrRunning", err)
	}
}

func TestASubscriptionByEventTypeTakesTheNarrowestChannelAndFiltersIt(t *testing.T) {
	w := newWorld(t)
	var seen sync.Map
	handler := func(_ context.Context, e schema.Event) error { seen.Store(e.Type, true); return nil }
	narrow := w.subscribe(bus.Subscription{Name: "narrow", Events: []string{"a.b"}, Handler: handler})
	wide := w.subscribe(bus.Subscription{Name: "wide", Events: []string{"a.b", "b.b"}, Handler: handler})
	if got := narrow.Channels(); !slices.Equal(got, []string{"x.a"}) {
		t.Errorf("a.b is read from %v, want x.a", got)
	}
	if got := wide.Channels(); !slices.Equal(got, []string{"x.all"}) {
		t.Errorf("a.b and b.b are read from %v, want x.all", got)
	}
	w.run()
	for _, typ := range []string{"a.b", "a.c", "b.b", "c.c"} {
		w.emit(event(typ, "user:1"))
	}
	w.until("everything received", func() bool { return narrow.Stats().Received == 2 && wide.Stats().Received == 4 })
	w.close()
	if n, wd := narrow.Stats(), wide.Stats(); n.Handled != 1 || n.Filtered != 1 || wd.Handled != 2 || wd.Filtered != 2 {
		t.Errorf("narrow: %+v, wide: %+v", n, wd)
	}
	got := slices.Sorted(func(yield func(string) bool) { seen.Range(func(k, _ any) bool { return yield(k.(string)) }) })
	if !slices.Equal(got, []string{"a.b", "b.b"}) {
		t.Errorf("handled %v", got)
	}
}

func TestADropIsOfferedToTheHookAndASlowHookSlowsNobody(t *testing.T) {
	release := make(chan struct{})
	var offered atomic.Int64
	reasons := sync.Map{}
	hooks := bus.Hooks{Dropped: func(d bus.Dropped) {
		<-release
		offered.Add(1)
		reasons.Store(d.Reason, true)
		if len(d.Message.Body) == 0 || d.Message.Channel == "" || d.Message.ID == "" {
			t.Errorf("the hook was given %+v", d)
		}
	}}
	cfg := bus.Config{Config: testRules, Publish: bus.PublishConfig{LaneConfig: bus.LaneConfig{Lanes: 1, MaxEvents: 10}}}
	b, err := bus.New(t.Context(), stalled{memory.New()}, cfg, bus.WithHooks(hooks), bus.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	var slowest time.Duration
	for range 5000 {
		start := time.Now()
		if err := b.Emit(t.Context(), event("a.b", "user:1")); err != nil {
			t.Fatal(err)
		}
		slowest = max(slowest, time.Since(start))
	}
	if slowest > time.Second {
		t.Errorf("an Emit took %v while the hook was blocked", slowest)
	}
	close(release)
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	b.Close(ctx)
	st := b.Stats()
	if !st.Published.Balanced() || st.Published.Queued != 0 || st.Published.Accepted != 10_000 {
		t.Errorf("the ledger says %+v", st.Published)
	}
	if got := offered.Load() + st.HooksMissed; got != st.Published.DroppedTotal() {
		t.Errorf("%d drops, of which %d were offered and %d missed", st.Published.DroppedTotal(), offered.Load(), st.HooksMissed)
	}
	for _, reason := range []bus.DropReason{bus.DropLaneFull, bus.DropUnconfirmed} {
		if _, told := reasons.Load(reason); !told || st.Published.Dropped[reason] == 0 {
			t.Errorf("nothing was dropped as %s: %v", reason, st.Published.Dropped)
		}
	}
}

// stalled is a broker that takes nothing until it is closed.
type stalled struct{ brokers.Conn }

func (s stalled) Publish(ctx context.Context, msgs []brokers.Message) error {
	<-ctx.Done()
	return brokers.FailAll(len(msgs), brokers.Unknown, ctx.Err())
}
