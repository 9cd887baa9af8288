package bus_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/brokers/memory"
	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/router/middleware"
	"github.com/eventbus-go/eventbus/schema"
)

func TestAHandlerIsToldWhereItsEventCameFrom(t *testing.T) {
	w := newWorld(t)
	got := make(chan string, 4)
	w.subscribe(bus.Subscription{
		Name: "s", Group: "g", Channels: []string{"x.a", "x.b"},
		Handler: func(ctx context.Context, e schema.Event) error {
			o, ok := bus.OriginOf(ctx)
			got <- fmt.Sprint(e.Type, " ", o.Subscription, " ", o.Group, " ", o.Channel, " ", o.Broker, o.Scheme, ok)
			return nil
		},
	})
	w.run()
	w.emit(event("a.b", "1"), event("b.c", "2"), event("a.b", "3"), event("b.c", "4"))
	var all []string
	for range 4 {
		all = append(all, <-got)
	}
	slices.Sort(all)
	want := []string{"a.b s g x.a true", "a.b s g x.a true", "b.c s g x.b true", "b.c s g x.b true"}
	if !slices.Equal(all, want) {
		t.Errorf("got %q", all)
	}
	if o, ok := bus.OriginOf(t.Context()); ok {
		t.Errorf("outside of a handler: %+v", o)
	}
}

// traced is an event whose metadata has a trace.
func traced(eventType string) schema.Event {
	e := event(eventType, "k")
	e.ID = "7"
	_ = e.Metadata.Set("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	return e
}

func TestHandlersLogWhatTheyAreAbout(t *testing.T) {
	var mu sync.Mutex
	var lines []map[string]any
	log := slog.New(bus.LogHandler(slog.NewJSONHandler(writerFunc(func(p []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		if strings.Count(string(p), `"channel"`) > 1 {
			t.Errorf("it says everything twice: %s", p)
		}
		line := make(map[string]any)
		err := json.Unmarshal(p, &line)
		lines = append(lines, line)
		return len(p), err
	}), nil)))
	w := newWorld(t, bus.WithLogger(log), bus.WithMiddleware(bus.LogContext))
	done := make(chan struct{})
	attempts := 0
	w.subscribe(bus.Subscription{
		Name: "s", Channels: []string{"x.a"}, Retry: middleware.Policy{Attempts: 2, Backoff: bus.Backoff{Min: 1, Max: 1}},
		Handler: func(ctx context.Context, e schema.Event) error {
			if attempts++; attempts == 1 {
				return errors.New("not yet")
			}
			defer close(done)
			bus.Logger(ctx, e).InfoContext(ctx, "by the event")
			log.With("a", 1).WithGroup("g").With("b", 2).InfoContext(ctx, "by the context", "c", 3)
			log.Info("of nothing")
			log.InfoContext(bus.WithTraceID(ctx, "t"), "of a trace")
			return nil
		},
	})
	w.run()
	w.emit(traced("a.b"))
	<-done
	mu.Lock()
	defer mu.Unlock()
	full := `"attempt":2,"channel":"x.a","event_id":"7","event_type":"a.b","subscription":"s","trace_id":`
	trace := `"0af7651916cd43dd8448eb211c80319c"`
	want := map[string]string{
		"by the event":   "{" + full + trace + "}",
		"by the context": `{"a":1,` + full[:strings.Index(full, `"subscription"`)] + `"g":{"b":2,"c":3},` + full[strings.Index(full, `"subscription"`):] + trace + "}",
		"of nothing":     "{}",
		"of a trace":     "{" + full + `"t"}`,
	}
	for _, line := range lines {
		text, ours := want[fmt.Sprint(line["msg"])]
		if !ours {
			continue
		}
		delete(want, fmt.Sprint(line["msg"]))
		for _, key := range []string{"msg", "time", "level"} {
			delete(line, key)
		}
		got, _ := json.Marshal(line)
		if string(got) != text {
			t.Errorf("got  %s\nwant %s", got, text)
		}
	}
	if len(want) > 0 {
		t.Errorf("not logged: %v", want)
	}
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestTheBussOwnRecordsNameTheEventAsHandlersDo(t *testing.T) {
	w := newWorld(t)
	sub := w.subscribe(bus.Subscription{
		Name: "s", Channels: []string{"x.all"},
		Handler: func(_ context.Context, e schema.Event) error {
			if e.Type == "a.b" {
				return bus.Permanent(errors.New("no"))
			}
			return bus.Drop(errors.New("no"))
		},
	})
	w.run()
	w.emit(traced("a.b"), traced("b.c"))
	w.until("both are given up", func() bool { return sub.Stats().Failed+sub.Stats().DroppedTotal() == 2 })
	w.close()
	for _, line := range []string{
		`msg="event failed" event_id=7 event_type=a.b channel=x.all trace_id=0af7651916cd43dd8448eb211c80319c attempt=1 err="permanent: no" subscription=s count=1`,
		`msg="event dropped by its handler" event_id=7 event_type=b.c channel=x.all trace_id=0af7651916cd43dd8448eb211c80319c attempt=1 err="drop: no" subscription=s count=1`,
	} {
		if !strings.Contains(w.log.String(), line) {
			t.Errorf("there is no %s in\n%s", line, w.log)
		}
	}
}

func TestHandlingIsMeasuredOnceItIsAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, err := bus.New(t.Context(), memory.New(), bus.Config{Config: testRules})
		if err != nil {
			t.Fatal(err)
		}
		sub, err := b.Subscribe(bus.Subscription{
			Name: "s", Channels: []string{"x.all"}, Retry: middleware.Policy{Attempts: 2, Backoff: bus.Backoff{Min: 1, Max: 1}},
			Handler: func(ctx context.Context, e schema.Event) error {
				time.Sleep(30 * time.Millisecond)
				if e.Type == "a.fails" {
					return errors.New("no")
				}
				return nil
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		emit := func(eventType string, age time.Duration) {
			if err := b.Emit(t.Context(), schema.Event{Type: eventType, Time: time.Now().Add(-age)}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		emit("a.b", 0)
		if st := sub.Stats(); st.Took.Total() != 0 || st.Age.Total() != 0 || st.Handled != 1 {
			t.Errorf("before Measure: %+v", st)
		}
		b.Measure()
		emit("a.b", 2*time.Minute)
		emit("a.b", -time.Hour) // the clock of its publisher is wrong
		emit("a.fails", 0)
		st := sub.Stats()
		for what, d := range map[string][2]time.Duration{
			"Took": {st.Took.Sum.Round(time.Millisecond), 120 * time.Millisecond}, "Age": {st.Age.Sum.Round(time.Second), 2 * time.Minute},
		} {
			if d[0] != d[1] {
				t.Errorf("%s sums to %v, want %v", what, d[0], d[1])
			}
		}
		if n := st.Took.Counts[slices.Index(st.Took.Bounds, 50*time.Millisecond)]; n != 2 || st.Took.Total() != 3 {
			t.Errorf("of %d, %d took 30 ms; want 2 of 3: %+v", st.Took.Total(), n, st.Took)
		}
		if n := st.Age.Counts[slices.Index(st.Age.Bounds, 5*time.Minute)]; n != 1 || st.Age.Counts[0] != 2 || st.Age.Total() != 3 {
			t.Errorf("ages: %+v", st.Age)
		}
		if err := b.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// A witness is a Tracer that writes down what it is told.
type witness struct {
	mu   sync.Mutex
	told []string
}

func (w *witness) Sending(ctx context.Context, e *schema.Event, s bus.Sending) ([]brokers.Header, func(error)) {
	if e.Type == "a.panics" {
		panic("in the tracer")
	}
	_ = e.Metadata.Set("traceparent", e.Type)
	what := fmt.Sprintf("%s %v %d", e.Type, s.Packed, len(s.To))
	for _, d := range s.To {
		what += " " + d.Channel
	}
	return []brokers.Header{{Key: "traceparent", Value: e.Type}}, func(err error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.told = append(w.told, fmt.Sprint(what, ": ", err))
	}
}

func (w *witness) take() (told []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	told, w.told = w.told, nil
	return told
}

func TestATracerIsToldOfWhatIsSentAndWhatBecameOfIt(t *testing.T) {
	tracer := &witness{}
	w := newWorld(t, bus.WithTracer(tracer))
	got := make(chan string, 2)
	w.subscribe(bus.Subscription{Name: "s", Channels: []string{"x.b"}, Handler: func(_ context.Context, e schema.Event) error {
		got <- e.Metadata.Text("traceparent")
		return nil
	}})
	w.run()
	expect := func(want ...string) {
		t.Helper()
		if told := tracer.take(); !slices.Equal(told, want) {
			t.Errorf("the tracer was told %q, want %q", told, want)
		}
	}
	w.emit(event("b.c", "k"))
	expect("b.c false 2 x.b x.all: <nil>")
	if text := <-got; text != "b.c" {
		t.Errorf("the handler's event has the traceparent %q", text)
	}
	if err := w.Publish(t.Context(), event("b.c", "k"), event("a.b", "k")); err != nil {
		t.Error(err)
	}
	expect("b.c false 2 x.b x.all: <nil>", "a.b false 2 x.a x.all: <nil>")
	msgs, err := w.Pack(t.Context(), event("b.c", "k"))
	if err != nil || len(msgs) != 2 || !slices.Equal(msgs[1].Headers, []brokers.Header{{Key: "traceparent", Value: "b.c"}}) {
		t.Errorf("%+v, %v was packed", msgs, err)
	}
	expect("b.c true 2 x.b x.all: <nil>")

	err = w.Emit(t.Context(), event("b.c", "k"), event("a.panics", "k"))
	if refused := new(bus.EventError); !errors.As(err, &refused) || refused.Stage != "enrich" || w.Stats().Panics != 1 {
		t.Errorf("a tracer that panics: %v", err)
	}
	expect("b.c false 2 x.b x.all: " + err.Error())
}

func TestATracerIsToldWhichEventsOfACallWereNotConfirmed(t *testing.T) {
	tracer := &witness{}
	conn := &headed{Conn: memory.New()}
	b, err := bus.New(t.Context(), conn, bus.Config{Config: testRules}, bus.WithTracer(tracer))
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close(ended())
	err = b.Publish(t.Context(), schema.Event{ID: "1", Type: "c.good"}, schema.Event{ID: "2", Type: "c.bad"})
	if err == nil {
		t.Fatal("all was confirmed")
	}
	if told := tracer.take(); !slices.Equal(told, []string{"c.good false 1 x.all: <nil>", "c.bad false 1 x.all: bad"}) {
		t.Errorf("the tracer was told %q", told)
	}
	for _, want := range []string{"c.good [{traceparent c.good}]", "c.bad [{traceparent c.bad}]"} {
		if !strings.Contains(conn.seen, want) {
			t.Errorf("the broker saw %s, want %s", conn.seen, want)
		}
	}
}

// headed is a broker that rejects events of type c.bad, and notes the headers.
type headed struct {
	brokers.Conn
	mu   sync.Mutex
	seen string
}

func (c *headed) Publish(_ context.Context, msgs []brokers.Message) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	failed := &brokers.BatchError{}
	for i, m := range msgs {
		c.seen += fmt.Sprint(" ", m.Type, " ", m.Headers)
		if m.Type == "c.bad" {
			failed.Failed = append(failed.Failed, brokers.MessageError{Index: i, Outcome: brokers.Rejected, Err: errors.New("bad")})
		}
	}
	if len(failed.Failed) > 0 {
		return failed
	}
	return nil
}

// ExampleLogger logs with what a record is about: event, channel, subscription, attempt.
func ExampleLogger() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	withoutTime := func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}
	log := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{ReplaceAttr: withoutTime}))
	b, err := bus.Open(ctx, "memory://", bus.WithLogger(log))
	if err != nil {
		fmt.Println(err)
		return
	}
	done := make(chan struct{})
	_, err = b.Subscribe(bus.Subscription{
		Name: "mailer", Events: []string{"user.*"},
		Handler: func(ctx context.Context, e schema.Event) error {
			defer close(done)
			bus.Logger(ctx, e).Info("mailed", "to", e.Subject)
			return nil
		},
	})
	if err == nil {
		err = b.Start(ctx)
	}
	if err == nil {
		err = b.Emit(ctx, schema.Event{ID: "7c9e", Type: "user.registered", Subject: "user:7"})
	}
	if err != nil {
		fmt.Println(err)
		return
	}
	<-done
	b.Close(ctx)
	// Output: level=INFO msg=mailed event_id=7c9e event_type=user.registered subscription=mailer channel=user_service.events.user attempt=1 to=user:7
}
