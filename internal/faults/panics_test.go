package faults

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/internal/testbroker"
	"github.com/eventbus-go/eventbus/router"
	"github.com/eventbus-go/eventbus/router/middleware"
	"github.com/eventbus-go/eventbus/schema"
	"github.com/eventbus-go/eventbus/store/deadletter"
)

// A bomb is a payload whose own code panics where Where says.
type bomb struct {
	Where string `json:"where"`
	N     int    `json:"n"`
}

func (b bomb) MarshalJSON() ([]byte, error) {
	b.explode("MarshalJSON")
	type plain bomb
	return json.Marshal(plain(b))
}

func (b *bomb) UnmarshalJSON(data []byte) error {
	type plain bomb
	if err := json.Unmarshal(data, (*plain)(b)); err != nil {
		return err
	}
	b.explode("UnmarshalJSON")
	return nil
}

func (b bomb) explode(where string) {
	if b.Where == where {
		panic("bomb in " + where)
	}
}

func bombType(t *testing.T) *schema.Type[bomb] {
	t.Helper()
	at := func(where string) func(bomb) string {
		return func(b bomb) string {
			b.explode(where)
			return fmt.Sprint("bomb:", b.N)
		}
	}
	typ, err := schema.Define(schema.NewCatalogue("tests"), schema.Definition[bomb]{
		Type: "role.bomb", Subject: at("Subject"), Resource: at("Resource"), Key: at("Key"),
	})
	if err != nil {
		t.Fatal(err)
	}
	return typ
}

// unprintable is a value that panics when it is printed.
type unprintable struct{}

func (unprintable) String() string { panic("bomb in String") }

// nasty is an error whose methods panic.
type nasty struct{}

func (nasty) Error() string        { panic("bomb in Error") }
func (nasty) Is(error) bool        { panic("bomb in Is") }
func (nasty) As(any) bool          { panic("bomb in As") }
func (nasty) Unwrap() error        { panic("bomb in Unwrap") }
func (nasty) LogValue() slog.Value { panic("bomb in LogValue") }

// explodeIn is what a handler or a middleware does with a bomb.
func explodeIn(b bomb) error {
	switch b.Where {
	case "handler":
		panic("bomb in a handler")
	case "handler, index":
		_ = []int{1}[len(b.Where)]
	case "handler, huge":
		panic(strings.Repeat("x", 1<<20))
	case "handler, unprintable":
		panic(unprintable{})
	case "handler, its error":
		return nasty{}
	case "fails":
		return router.Permanent(errors.New("no"))
	}
	return nil
}

func TestPanicsInTheUsersCodeAreContainedCountedAndLoggedWithTheirStackOnce(t *testing.T) {
	const each = 20
	redis := testbroker.RealRedis(t)
	typ := bombType(t)
	var hooks [4]atomic.Int64
	explode := func(i int, what string) {
		hooks[i].Add(1)
		panic("bomb in the " + what + " hook")
	}
	type enriched struct{}
	conn := connect(t, redis.PatientURL())
	var cfg bus.Config
	cfg.Publish.MaxEvents, cfg.Publish.Lanes = 4, 1
	w := newWorld(t, conn, cfg, bus.Hooks{
		Dropped:   func(bus.Dropped) { explode(0, "Dropped") },
		Malformed: func(bus.Malformed) { explode(1, "Malformed") },
		Failed:    func(bus.Failed) { explode(2, "Failed") },
		Gap:       func(bus.Gap) { explode(3, "Gap") },
	}, bus.WithEnrich(func(ctx context.Context, _ *schema.Event) {
		if ctx.Value(enriched{}) != nil {
			panic("bomb in enrich")
		}
	}))
	var good atomic.Int64
	sub := w.subscribe(bus.Subscription{
		Name: "all", Channels: []string{"user_service.events.all"}, Retry: middleware.Policy{Attempts: 1},
		Handlers: []bus.TypedHandler{bus.On(typ, func(_ context.Context, _ schema.Event, b bomb) error {
			if err := explodeIn(b); err != nil {
				return err
			}
			good.Add(1)
			return nil
		})},
		Middleware: []router.Middleware{func(next router.Handler) router.Handler {
			return func(ctx context.Context, e schema.Event) error {
				if strings.Contains(string(e.Data), `"middleware"`) {
					panic("bomb in a middleware")
				}
				return next(ctx, e)
			}
		}},
	})
	w.run()

	publishing := []string{"MarshalJSON", "Subject", "Resource", "Key"}
	inHandlers := []string{
		"handler", "handler, index", "handler, huge", "handler, unprintable", "handler, its error",
		"middleware", "UnmarshalJSON",
	}
	n := 0
	emit := func(ctx context.Context, where string) error {
		n++
		return w.Emit(ctx, typ.New(bomb{where, n}))
	}
	publish := func(where string) {
		t.Helper()
		n++
		if err := w.Publish(t.Context(), typ.New(bomb{where, n})); err != nil {
			t.Fatalf("%s: %v", where, err)
		}
	}
	for range each {
		for _, where := range publishing {
			err := emit(t.Context(), where)
			if !errors.As(err, new(*bus.EventError)) || !strings.Contains(err.Error(), "bomb in "+where) {
				t.Errorf("a panic in %s made Emit return %v", where, err)
			}
		}
		if err := emit(context.WithValue(t.Context(), enriched{}, true), ""); !errors.As(err, new(*bus.EventError)) {
			t.Errorf("a panic in enrich made Emit return %v", err)
		}
		for _, where := range inHandlers {
			publish(where)
		}
		publish("fails")
		publish("")
		if _, err := redis.Do(t.Context(), "PUBLISH", "user_service.events.all", "no event"); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, patience, "the good ones are handled, and what is none is counted", func() bool {
		return good.Load() == each && sub.Stats().Malformed["syntax"] == each
	})
	w.quiet()

	// With the server gone, the lane is full at once, and a gap follows.
	if err := redis.Kill(); err != nil {
		t.Fatal(err)
	}
	for range 4 + each {
		if err := emit(t.Context(), ""); err != nil {
			t.Error(err)
		}
	}
	if err := redis.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, patience, "the gap is reported", func() bool { return hooks[3].Load() > 0 })
	w.quiet()
	publish("")
	eventually(t, patience, "an event is handled after all of it", func() bool { return good.Load() > each })
	w.shut()

	for i, what := range []string{"Dropped", "Malformed", "Failed", "Gap"} {
		if hooks[i].Load() == 0 {
			t.Errorf("the %s hook was not called", what)
		}
	}
	var want int64
	eventually(t, patience, "every panic is counted, those of the last hooks, too", func() bool {
		want = int64(each * (len(publishing) + 1 + len(inHandlers)))
		for i := range hooks {
			want += hooks[i].Load()
		}
		return w.Stats().Panics+sub.Stats().Panics == want
	})
	st, s := w.Stats(), sub.Stats()
	failed, refused := int64(each*(len(inHandlers)+1)), int64(each*(len(publishing)+1))
	if s.Failed != failed || s.Malformed["syntax"] != each || st.Refused != refused {
		t.Errorf("failed %d, want %d; malformed %v; refused %d", s.Failed, failed, s.Malformed, st.Refused)
	}
	stacks := map[string]int64{}
	for _, r := range w.log.which(func(r logRecord) bool { return r.attrs["panic"] != "" }) {
		if stacks[r.attrs["where"]] += 0; r.attrs["stack"] != "" {
			stacks[r.attrs["where"]]++
		}
		if len(r.attrs["panic"]) > 2000 {
			t.Errorf("a panic's value of %d bytes is in the log", len(r.attrs["panic"]))
		}
	}
	for where, n := range stacks {
		if n != 1 {
			t.Errorf("%s: %d stacks were logged", where, n)
		}
	}
	if len(stacks) < 7 {
		t.Errorf("panics of %d places were logged: %v", len(stacks), stacks)
	}
	figure(t, "panics", "%d in handlers, middleware, hooks, codecs and an enricher: contained and counted, %d stacks "+
		"logged for %d places, "+
		"and %d good events handled", want, total(stacks), len(stacks), good.Load())
}

func TestALoggerThatPanicsHarmsNobody(t *testing.T) {
	redis := testbroker.RealRedis(t)
	conn := connect(t, redis.URL())
	var asked atomic.Int64
	b, err := bus.New(t.Context(), conn, bus.Config{}, bus.WithLogger(slog.New(&bombHandler{asked: &asked})))
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := b.Emit(t.Context(), schema.Event{Type: "no route"}); err == nil {
			t.Error("an event without a proper type was taken")
		}
		eventually(t, patience, "something is logged", func() bool { return asked.Swap(0) > 0 })
	}
	if err := b.Publish(t.Context(), plain("1", "{}")); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := b.Close(ctx); err != nil {
		t.Error(err)
	}
	if b.Stats().Panics == 0 {
		t.Error("its panics are not counted")
	}
}

type bombHandler struct {
	slog.Handler
	asked *atomic.Int64
}

func (*bombHandler) Enabled(context.Context, slog.Level) bool { return true }

func (h *bombHandler) Handle(context.Context, slog.Record) error {
	h.asked.Add(1)
	panic("bomb in the logger")
}

// A longest keeps the length of the longest log line, and whether one of them says that an event has failed.
type longest struct {
	mu     sync.Mutex
	most   int
	failed bool
}

func (l *longest) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.most = max(l.most, len(p))
	l.failed = l.failed || strings.Contains(string(p[:min(len(p), 200)]), "event failed")
	return len(p), nil
}

// A handler panics with 100 MB, or fails with as much, twice: what is written of it is bounded.
func TestAHugeValueOfAPanicLeavesABoundedLetter(t *testing.T) {
	value := strings.Repeat("x", 100<<20)
	for what, handler := range map[string]bus.Handler{
		"a panic":  func(context.Context, schema.Event) error { panic(value) },
		"an error": func(context.Context, schema.Event) error { return errors.New(value) },
	} {
		t.Run(what, func(t *testing.T) { failHugely(t, what, handler) })
	}
}

func failHugely(t *testing.T, what string, handler bus.Handler) {
	const bound = 32 << 10
	store, log := deadletter.NewMemory(0, 0), &longest{}
	b := open(t, bus.Config{URL: "memory://"}, bus.WithDeadLetters(store),
		bus.WithLogger(slog.New(slog.NewTextHandler(log, nil))))
	sub, err := b.Subscribe(bus.Subscription{
		Name: "s", Channels: []string{"x.all"}, Concurrency: 1,
		Retry: bus.RetryPolicy{Attempts: 2, Backoff: bus.Backoff{Min: time.Millisecond, Max: time.Millisecond}},
		Handler: func(ctx context.Context, e schema.Event) error {
			if e.Subject == "bad" {
				return handler(ctx, e)
			}
			return nil
		},
	})
	if err := errors.Join(err, b.Start(t.Context())); err != nil {
		t.Fatal(err)
	}
	emitAll(t, b, about("bad"), about("user:1"))
	eventually(t, patience, "both are done with", func() bool { st := sub.Stats(); return st.DeadLettered == 1 && st.Handled == 1 })
	got := letters(t, store)
	if len(got) != 1 || got[0].Attempts != 2 || len(got[0].History) != 2 {
		t.Fatalf("%d letters", len(got))
	}
	text, err := json.Marshal(got[0])
	if err != nil || len(text) > bound {
		t.Errorf("the letter has %d bytes, want up to %d: %v", len(text), bound, err)
	}
	eventually(t, patience, "the failure is logged", func() bool { log.mu.Lock(); defer log.mu.Unlock(); return log.failed })
	log.mu.Lock()
	defer log.mu.Unlock()
	if log.most > bound {
		t.Errorf("the longest log line has %d bytes, want up to %d", log.most, bound)
	}
	figure(t, what+" of 100 MB", "dead-lettered after 2 attempts, in %d bytes, and in up to %d of a log line", len(text), log.most)
}
