package otel_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	nooptrace "go.opentelemetry.io/otel/trace/noop"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/brokers/memory"
	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/observe/otel"
	"github.com/eventbus-go/eventbus/router"
	"github.com/eventbus-go/eventbus/router/middleware"
	"github.com/eventbus-go/eventbus/schema"
)

var rules = router.Config{Prefix: "x", Rules: []router.Rule{
	{Match: []string{"a.>"}, Channels: []string{"a"}},
	{Match: []string{"b.>"}, Channels: []string{"b", "all"}},
}}

// A spy is a broker that keeps what is published.
type spy struct {
	brokers.Conn
	mu   sync.Mutex
	msgs []brokers.Message
}

func (s *spy) Publish(ctx context.Context, msgs []brokers.Message) error {
	s.mu.Lock()
	for _, m := range msgs {
		m.Headers = slices.Clone(m.Headers)
		s.msgs = append(s.msgs, m)
	}
	s.mu.Unlock()
	return s.Conn.Publish(ctx, msgs)
}

// A world is a bus whose spans are recorded, and a subscription called s.
type world struct {
	*bus.Bus
	t     *testing.T
	conn  *spy
	spans *tracetest.SpanRecorder
	sdk   *sdktrace.TracerProvider
}

func newWorld(t *testing.T, handler bus.Handler, opts ...otel.Option) *world {
	t.Helper()
	w := &world{t: t, conn: &spy{Conn: memory.New()}, spans: tracetest.NewSpanRecorder()}
	w.sdk = sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(w.spans))
	opts = append([]otel.Option{otel.WithTracerProvider(w.sdk)}, opts...)
	b, err := bus.New(t.Context(), w.conn, bus.Config{Config: rules}, otel.Instrument(opts...))
	if err != nil {
		t.Fatal(err)
	}
	w.Bus = b
	t.Cleanup(func() { b.Close(context.Background()) })
	if _, err := b.Subscribe(bus.Subscription{
		Name: "s", Group: "g", Channels: []string{"x.a", "x.b"}, Handler: handler,
		Retry: middleware.Policy{Attempts: 2, Backoff: bus.Backoff{Min: 1, Max: 1}},
	}); err != nil {
		t.Fatal(err)
	}
	if err := b.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return w
}

// publish publishes events and returns the spans of everything, by name, once n have ended.
func (w *world) publish(ctx context.Context, n int, events ...schema.Event) map[string]sdktrace.ReadOnlySpan {
	w.t.Helper()
	if err := w.Publish(ctx, events...); err != nil {
		w.t.Fatal(err)
	}
	return w.ended(n)
}

func (w *world) ended(n int) map[string]sdktrace.ReadOnlySpan {
	w.t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for len(w.spans.Ended()) < n && time.Now().Before(deadline) {
		runtime.Gosched()
		time.Sleep(time.Millisecond)
	}
	out := make(map[string]sdktrace.ReadOnlySpan)
	for _, s := range w.spans.Ended() {
		name := s.Name()
		for out[name] != nil {
			name += "'"
		}
		out[name] = s
	}
	if len(out) != n {
		w.t.Fatalf("%d spans have ended, want %d: %v", len(out), n, out)
	}
	return out
}

// attributes returns those of a span as a text, in the order of their names.
func attributes(s sdktrace.ReadOnlySpan) string {
	var all []string
	for _, a := range s.Attributes() {
		all = append(all, fmt.Sprintf("%s=%s", a.Key, a.Value.String()))
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

func TestAnEventIsFollowedFromItsPublisherToItsHandler(t *testing.T) {
	var inside trace.SpanContext
	w := newWorld(t, func(ctx context.Context, _ schema.Event) error {
		inside = trace.SpanContextFromContext(ctx)
		return nil
	})
	ctx, caller := w.sdk.Tracer("test").Start(t.Context(), "caller")
	e := schema.Event{ID: "7", Type: "a.b"}
	if err := e.Metadata.Set("correlation_id", "c1"); err != nil {
		t.Fatal(err)
	}
	spans := w.publish(ctx, 2, e)
	send, process := spans["send x.a"], spans["process x.a"]
	if send == nil || process == nil {
		t.Fatalf("the spans are %v", spans)
	}
	if send.SpanKind() != trace.SpanKindProducer || process.SpanKind() != trace.SpanKindConsumer {
		t.Errorf("their kinds are %v and %v", send.SpanKind(), process.SpanKind())
	}
	if send.Parent().SpanID() != caller.SpanContext().SpanID() {
		t.Error("the publisher's span is no child of its caller's")
	}
	if links := process.Links(); process.Parent().IsValid() || len(links) != 1 || links[0].SpanContext.SpanID() != send.SpanContext().SpanID() ||
		process.SpanContext().TraceID() == send.SpanContext().TraceID() {
		t.Errorf("the handler's span has the parent %v and the links %v", process.Parent(), links)
	}
	if inside.SpanID() != process.SpanContext().SpanID() {
		t.Error("the handler's context has another span")
	}
	for _, c := range []struct {
		span sdktrace.ReadOnlySpan
		want string
	}{
		{send, "eventbus.event.type=a.b messaging.destination.name=x.a messaging.message.conversation_id=c1 messaging.message.id=7 " +
			"messaging.operation.name=send messaging.operation.type=send messaging.system=eventbus"},
		{process, "eventbus.attempt=1 eventbus.event.type=a.b messaging.consumer.group.name=g messaging.destination.name=x.a " +
			"messaging.destination.subscription.name=s messaging.message.conversation_id=c1 messaging.message.id=7 " +
			"messaging.operation.name=process messaging.operation.type=process messaging.system=eventbus"},
	} {
		if got := attributes(c.span); got != c.want {
			t.Errorf("%s:\ngot  %s\nwant %s", c.span.Name(), got, c.want)
		}
	}
	parent := "00-" + send.SpanContext().TraceID().String() + "-" + send.SpanContext().SpanID().String() + "-01"
	m := w.conn.msgs[0]
	if !slices.Equal(m.Headers, []brokers.Header{{Key: "traceparent", Value: parent}}) ||
		!strings.Contains(string(m.Body), `"metadata":{"correlation_id":"c1","traceparent":"`+parent+`"}`) {
		t.Errorf("the message has the headers %v and the body %s", m.Headers, m.Body)
	}
}

func TestTheHandlersSpanIsAChildWhereThatIsAskedFor(t *testing.T) {
	w := newWorld(t, func(context.Context, schema.Event) error { return nil }, otel.AsChild(), otel.WithoutHeaders())
	spans := w.publish(t.Context(), 2, schema.Event{Type: "b.c"})
	send, process := spans["send b.c"], spans["process x.b"]
	if send == nil || process == nil {
		t.Fatalf("the spans are %v", spans)
	}
	if process.Parent().SpanID() != send.SpanContext().SpanID() || len(process.Links()) != 0 {
		t.Errorf("its parent is %v, its links are %v", process.Parent(), process.Links())
	}
	if got := attributes(send); !strings.Contains(got, `eventbus.channels=["x.b","x.all"]`) || strings.Contains(got, "destination.name") {
		t.Errorf("of several channels: %s", got)
	}
	if h := w.conn.msgs[0].Headers; len(h) > 0 {
		t.Errorf("there are the headers %v", h)
	}
}

func TestEachAttemptHasASpanThatSaysHowItEnded(t *testing.T) {
	attempts := 0
	w := newWorld(t, func(ctx context.Context, e schema.Event) error {
		switch attempts++; {
		case e.Type == "a.drop":
			return bus.Drop(errors.New("not wanted"))
		case attempts == 1:
			return fmt.Errorf("wrapped: %w", context.DeadlineExceeded)
		default:
			panic("at the second attempt")
		}
	})
	spans := w.publish(t.Context(), 3, schema.Event{Type: "a.b"})
	for name, want := range map[string]string{"process x.a": "timeout 1", "process x.a'": "panic 2"} {
		got := attributes(spans[name])
		kind, attempt, _ := strings.Cut(want, " ")
		if s := spans[name].Status(); s.Code != codes.Error || !strings.Contains(got, "error.type="+kind) ||
			!strings.Contains(got, "eventbus.attempt="+attempt) {
			t.Errorf("%s: %+v, %s; want %s", name, s, got, want)
		}
	}
	dropped := w.publish(t.Context(), 5, schema.Event{Type: "a.drop"})["process x.a''"]
	if s := dropped.Status(); s.Code != codes.Unset || !strings.Contains(attributes(dropped), "error.type=dropped") {
		t.Errorf("what was dropped: %+v, %s", s, attributes(dropped))
	}
}

func TestTheSpanOfAPublishSaysWhatBecameOfTheEvent(t *testing.T) {
	w := newWorld(t, func(context.Context, schema.Event) error { return nil })
	if _, err := w.Pack(t.Context(), schema.Event{Type: "a.packed"}); err != nil {
		t.Fatal(err)
	}
	if got := attributes(w.ended(1)["create x.a"]); !strings.Contains(got, "messaging.operation.type=create") {
		t.Errorf("of Pack: %s", got)
	}
	if err := w.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	conn := &spy{Conn: memory.New()}
	b, err := bus.New(t.Context(), conn, bus.Config{Config: rules}, otel.Instrument(otel.WithTracerProvider(w.sdk)))
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(t.Context()); err != nil { // so that nothing can be sent
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := b.Publish(ctx, schema.Event{Type: "a.b"}); err == nil {
		t.Fatal("it was published")
	}
	if s := w.ended(2)["send x.a"]; s.Status().Code != codes.Error || !strings.Contains(attributes(s), "error.type=") {
		t.Errorf("of what was not sent: %+v, %s", s.Status(), attributes(s))
	}
	_ = b.Close(ctx)
}

// An outbox publishes later, from a context without a span, what has its trace in the metadata.
func TestATraceThatAnEventBringsGoesOn(t *testing.T) {
	const id = "0af7651916cd43dd8448eb211c80319c"
	got := make(chan schema.Event, 1)
	keep := func(_ context.Context, e schema.Event) error { got <- e; return nil }
	event := func() schema.Event {
		e := schema.Event{Type: "a.b"}
		_ = e.Metadata.Set("traceparent", "00-"+id+"-b7ad6b7169203331-01")
		_ = e.Metadata.Set("tracestate", "vendor=1")
		return e
	}
	for name, opts := range map[string][]otel.Option{
		"with spans": nil, "without": {otel.OnlyPropagate()}, "without an SDK": {otel.WithTracerProvider(nooptrace.NewTracerProvider())},
	} {
		w := newWorld(t, keep, opts...)
		if err := w.Publish(t.Context(), event()); err != nil {
			t.Fatal(err)
		}
		e := <-got
		if text := e.Metadata.Text("traceparent"); !strings.HasPrefix(text, "00-"+id+"-") || e.Metadata.Text("tracestate") != "vendor=1" {
			t.Errorf("%s the handler's event has the trace %q", name, text)
		}
		if h := w.conn.msgs[0].Headers; len(h) != 2 || h[1].Value != "vendor=1" {
			t.Errorf("%s the headers are %v", name, h)
		}
	}
}

func TestNothingIsAddedWhereThereIsNoTrace(t *testing.T) {
	got := make(chan schema.Event, 1)
	w := newWorld(t, func(_ context.Context, e schema.Event) error { got <- e; return nil },
		otel.WithTracerProvider(nooptrace.NewTracerProvider()))
	if err := w.Publish(t.Context(), schema.Event{Type: "a.b"}); err != nil {
		t.Fatal(err)
	}
	if e := <-got; e.Metadata.Len() != 0 || len(w.conn.msgs[0].Headers) != 0 {
		t.Errorf("the event has the metadata %v, the message the headers %v", e.Metadata, w.conn.msgs[0].Headers)
	}
}

// A propagator may write what a header cannot have, and a handler may see what it wrote.
func TestAnotherPropagatorIsUsedAsItIs(t *testing.T) {
	got := make(chan string, 1)
	w := newWorld(t, func(ctx context.Context, _ schema.Event) error { got <- fmt.Sprint(ctx.Value(key{})); return nil },
		otel.WithPropagator(odd{}))
	w.publish(t.Context(), 2, schema.Event{Type: "a.b"})
	if s := <-got; s != "a\nb" {
		t.Errorf("the handler's context has %q", s)
	}
	if h := w.conn.msgs[0].Headers; !slices.Equal(h, []brokers.Header{{Key: "good", Value: "c"}}) {
		t.Errorf("the headers are %v", h)
	}
}

type (
	odd struct{}
	key struct{}
)

func (odd) Fields() []string { return []string{"odd", "good"} }
func (odd) Inject(_ context.Context, c propagation.TextMapCarrier) {
	c.Set("odd", "a\nb")
	c.Set("good", "c")
}
func (odd) Extract(ctx context.Context, c propagation.TextMapCarrier) context.Context {
	if len(c.Keys()) == 0 {
		return ctx
	}
	return context.WithValue(ctx, key{}, c.Get("odd"))
}

// A bus is run for ever: the span that it was started in is no part of what it handles.
func TestTheSpanThatABusIsRunInIsNoOnesParent(t *testing.T) {
	for name, opts := range map[string][]otel.Option{"linked": nil, "as a child": {otel.AsChild()}} {
		spans := tracetest.NewSpanRecorder()
		sdk := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))
		opts = append(opts, otel.WithTracerProvider(sdk), otel.OnlyPropagate())
		var log strings.Builder
		handled := make(chan struct{})
		b, err := bus.New(t.Context(), memory.New(), bus.Config{Config: rules}, otel.Instrument(opts...),
			bus.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.Subscribe(bus.Subscription{Name: "s", Channels: []string{"x.a"}, Handler: func(ctx context.Context, e schema.Event) error {
			bus.Logger(ctx, e).Info("here")
			close(handled)
			return nil
		}}); err != nil {
			t.Fatal(err)
		}
		ctx, started := sdk.Tracer("test").Start(t.Context(), "start")
		if err := b.Start(ctx); err != nil {
			t.Fatal(err)
		}
		if err := b.Publish(t.Context(), schema.Event{Type: "a.b"}); err != nil {
			t.Fatal(err)
		}
		<-handled
		if err := b.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		started.End()
		process := spans.Ended()[0]
		if process.Name() != "process x.a" || process.Parent().IsValid() || len(process.Links()) > 0 {
			t.Errorf("%s: %s has the parent %v and the links %v", name, process.Name(), process.Parent(), process.Links())
		}
		if want := "trace_id=" + process.SpanContext().TraceID().String(); !strings.Contains(log.String(), want) {
			t.Errorf("%s: the handler has logged %s, want %s", name, log.String(), want)
		}
	}
}

func TestMetricsAreObserved(t *testing.T) {
	reader := sdkmetric.NewManualReader()
	meters := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
	w := newWorld(t, func(context.Context, schema.Event) error { return nil }, otel.WithMeterProvider(meters))
	stop, err := otel.Metrics(w.Bus, meters)
	if err != nil {
		t.Fatal(err)
	}
	w.publish(t.Context(), 2, schema.Event{Type: "a.b"})
	collect := func() map[string]string {
		var all metricdata.ResourceMetrics
		if err := reader.Collect(t.Context(), &all); err != nil {
			t.Fatal(err)
		}
		return texts(all)
	}
	w.ended(2)
	deadline := time.Now().Add(30 * time.Second)
	for w.Stats().Subscriptions["s"].Handled == 0 && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond)
	}
	got := collect()
	for name, want := range map[string]string{
		"eventbus.publish_accepted":          "sum 1 broker=main",
		"eventbus.subscription_handled":      "sum 1 subscription=s",
		"eventbus.subscription_in_flight":    "gauge 0 subscription=s",
		"eventbus.broker_up":                 "gauge 1 broker=main",
		"eventbus.dead_letters_oldest_age s": "gauge 0",
		"messaging.process.duration s": "histogram 1 messaging.consumer.group.name=g messaging.destination.name=x.a " +
			"messaging.destination.subscription.name=s messaging.operation.name=process messaging.system=eventbus",
	} {
		if !strings.Contains(got[name], want) {
			t.Errorf("%s is %q, want %q", name, got[name], want)
		}
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	if got := collect(); got["eventbus.publish_accepted"] != "" {
		t.Errorf("after stop there is %q", got["eventbus.publish_accepted"])
	}
}

// texts returns the data points of metrics, by name and unit.
func texts(all metricdata.ResourceMetrics) map[string]string {
	out := make(map[string]string)
	add := func(m metricdata.Metrics, kind string, value any, set attribute.Set) {
		text := fmt.Sprint(kind, " ", value)
		for _, a := range set.ToSlice() {
			text += fmt.Sprintf(" %s=%s", a.Key, a.Value.String())
		}
		out[strings.TrimSpace(m.Name+" "+m.Unit)] += text + "\n"
	}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			switch data := m.Data.(type) {
			case metricdata.Sum[int64]:
				for _, p := range data.DataPoints {
					add(m, "sum", p.Value, p.Attributes)
				}
			case metricdata.Gauge[float64]:
				for _, p := range data.DataPoints {
					add(m, "gauge", p.Value, p.Attributes)
				}
			case metricdata.Histogram[float64]:
				for _, p := range data.DataPoints {
					add(m, "histogram", p.Count, p.Attributes)
				}
			}
		}
	}
	return out
}

// A seeing sampler keeps what it is asked about, and records nothing.
type seeing struct {
	mu   sync.Mutex
	seen map[string]string
}

func (s *seeing) Description() string { return "seeing" }

func (s *seeing) ShouldSample(p sdktrace.SamplingParameters) sdktrace.SamplingResult {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []string
	for _, a := range p.Attributes {
		all = append(all, string(a.Key)+"="+a.Value.String())
	}
	slices.Sort(all)
	s.seen[p.Name] = strings.Join(all, " ")
	return sdktrace.SamplingResult{Decision: sdktrace.Drop, Tracestate: trace.SpanContextFromContext(p.ParentContext).TraceState()}
}

// What is not recorded costs little, and is all the same to those who come after: they see a trace that is not sampled. The sampler has
// seen what it may decide by.
func TestATraceThatIsNotSampledGoesOnUnsampled(t *testing.T) {
	sampler := &seeing{seen: make(map[string]string)}
	sdk := sdktrace.NewTracerProvider(sdktrace.WithSampler(sampler))
	got := make(chan schema.Event, 1)
	w := newWorld(t, func(_ context.Context, e schema.Event) error { got <- e; return nil }, otel.WithTracerProvider(sdk))
	for range 2 { // the second one finds what the first has made
		if err := w.Publish(t.Context(), schema.Event{Type: "a.b"}); err != nil {
			t.Fatal(err)
		}
		if e := <-got; !strings.HasSuffix(e.Metadata.Text("traceparent"), "-00") {
			t.Errorf("the handler's event has the trace %q", e.Metadata.Text("traceparent"))
		}
		w.conn.mu.Lock()
		if h := w.conn.msgs[len(w.conn.msgs)-1].Headers; len(h) != 1 || !strings.HasSuffix(h[0].Value, "-00") {
			t.Errorf("the headers are %v", h)
		}
		w.conn.mu.Unlock()
	}
	sampler.mu.Lock()
	defer sampler.mu.Unlock()
	for name, want := range map[string]string{
		"send x.a": "eventbus.event.type=a.b messaging.destination.name=x.a messaging.operation.name=send messaging.operation.type=send " +
			"messaging.system=eventbus",
		"process x.a": "eventbus.event.type=a.b messaging.consumer.group.name=g messaging.destination.name=x.a " +
			"messaging.destination.subscription.name=s messaging.operation.name=process messaging.operation.type=process messaging.system=eventbus",
	} {
		if sampler.seen[name] != want {
			t.Errorf("the sampler has seen of %s: %s, want %s", name, sampler.seen[name], want)
		}
	}
}

// Events of one type go elsewhere by their source. What is kept of the type is not taken for what it is not.
func TestEventsOfOneTypeThatGoElsewhereAreToldApart(t *testing.T) {
	spans := tracetest.NewSpanRecorder()
	sdk := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))
	b, err := bus.New(t.Context(), memory.New(), bus.Config{Config: router.Config{Prefix: "x", Rules: []router.Rule{
		{Match: []string{"a.>"}, When: router.Condition{Sources: []string{"one"}}, Channels: []string{"one"}},
		{Match: []string{"a.>"}, Channels: []string{"two"}},
	}}}, otel.Instrument(otel.WithTracerProvider(sdk)))
	if err != nil {
		t.Fatal(err)
	}
	for _, source := range []string{"one", "two", "one"} {
		if err := b.Emit(t.Context(), schema.Event{Type: "a.b", Source: source}); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range spans.Ended() {
		names = append(names, s.Name())
	}
	if want := []string{"send a.b", "send x.two", "send a.b"}; !slices.Equal(names, want) {
		t.Errorf("the spans are %v, want %v", names, want)
	}
}

// BenchmarkEmit is what Emit costs with a span that is recorded, and with an SDK that samples none.
func BenchmarkEmit(b *testing.B) {
	for name, sampler := range map[string]sdktrace.Sampler{"sampled": sdktrace.AlwaysSample(), "not sampled": sdktrace.NeverSample()} {
		b.Run(name, func(b *testing.B) {
			sdk := sdktrace.NewTracerProvider(sdktrace.WithSampler(sampler))
			eb, err := bus.New(b.Context(), memory.New(), bus.Config{Publish: bus.PublishConfig{LaneConfig: bus.LaneConfig{
				WhenFull: bus.Block, BlockFor: time.Minute,
			}}}, otel.Instrument(otel.WithTracerProvider(sdk)))
			if err != nil {
				b.Fatal(err)
			}
			defer eb.Close(context.Background())
			b.ReportAllocs()
			for b.Loop() {
				if err := eb.Emit(b.Context(), schema.Event{Type: "user.registered", Subject: "user:1"}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkHandle is what an event costs from Emit to its handler, all goroutines included.
func BenchmarkHandle(b *testing.B) {
	for name, sampler := range map[string]sdktrace.Sampler{"sampled": sdktrace.AlwaysSample(), "not sampled": sdktrace.NeverSample()} {
		b.Run(name, func(b *testing.B) {
			sdk := sdktrace.NewTracerProvider(sdktrace.WithSampler(sampler))
			meters := sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader()))
			eb, err := bus.New(b.Context(), memory.New(), bus.Config{Publish: bus.PublishConfig{LaneConfig: bus.LaneConfig{
				WhenFull: bus.Block, BlockFor: time.Minute,
			}}}, otel.Instrument(otel.WithTracerProvider(sdk), otel.WithMeterProvider(meters)))
			if err != nil {
				b.Fatal(err)
			}
			defer eb.Close(context.Background())
			handled := make(chan struct{}, 1<<10)
			if _, err = eb.Subscribe(bus.Subscription{
				Name: "s", Events: []string{"user.*"}, Handler: func(context.Context, schema.Event) error { handled <- struct{}{}; return nil },
			}); err == nil {
				err = eb.Start(b.Context())
			}
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if err := eb.Emit(b.Context(), schema.Event{Type: "user.registered", Subject: "user:1"}); err != nil {
					b.Fatal(err)
				}
				<-handled
			}
		})
	}
}

func ExampleInstrument() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	spans := tracetest.NewSpanRecorder() // a program sets up an exporter instead
	sdk := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))

	b, err := bus.Open(ctx, "memory://", otel.Instrument(otel.WithTracerProvider(sdk)))
	if err != nil {
		fmt.Println(err)
		return
	}
	done := make(chan struct{})
	if _, err = b.Subscribe(bus.Subscription{
		Name: "mailer", Events: []string{"user.*"},
		Handler: func(context.Context, schema.Event) error { close(done); return nil },
	}); err == nil {
		err = b.Start(ctx)
	}
	if err == nil {
		err = b.Publish(ctx, schema.Event{Type: "user.registered"})
	}
	if err != nil {
		fmt.Println(err)
		return
	}
	<-done
	b.Close(ctx)
	for _, s := range spans.Ended() {
		fmt.Println(s.SpanKind(), s.Name(), "links:", len(s.Links()))
	}
	// Unordered output:
	// producer send user.registered links: 0
	// consumer process user_service.events.user links: 1
}
