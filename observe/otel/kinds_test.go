package otel

import (
	"context"
	"fmt"
	"testing"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/schema"
)

// What a span costs that nobody records: what the API and the SDK make of it, and what is written into the event.
func TestWhatIsNotSampledCostsFewAllocations(t *testing.T) {
	i := newInstrument(WithTracerProvider(sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.NeverSample()))),
		WithMeterProvider(sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader()))))
	to := []bus.Destination{{Channel: "x.a"}, {Channel: "x.b"}}
	var sent schema.Event
	send := func() {
		sent = schema.Event{ID: "1", Type: "a.b"}
		i.Sending(t.Context(), &sent, bus.Sending{To: to})
	}
	if n := testing.AllocsPerRun(100, send); n > 7 {
		t.Errorf("to send: %v allocations, want 7: 4 of the API and the SDK, and the metadata, the headers and their value", n)
	}
	ctx, handle := t.Context(), i.middleware(func(context.Context, schema.Event) error { return nil })
	if n := testing.AllocsPerRun(100, func() { _ = handle(ctx, sent) }); n > 16 {
		t.Errorf("to handle: %v allocations, want 16", n)
	}
}

func TestAPublisherCannotMakeACacheGrowForEver(t *testing.T) {
	i := newInstrument()
	for n := range 2 * maxKinds {
		e := schema.Event{Type: fmt.Sprint("a.b", n)}
		k := i.sendKind(&e, bus.Sending{To: []bus.Destination{{Channel: "x"}, {Channel: "y"}}})
		if h := i.handleKind(bus.Origin{Channel: "x"}, e.Type); k.name != "send "+e.Type || h.name != "process x" {
			t.Fatalf("%s, %s", k.name, h.name)
		}
	}
	if sends, handles := len(*i.sends.known.Load()), len(*i.handles.known.Load()); sends != maxKinds || handles != maxKinds {
		t.Errorf("there are %d and %d kinds, want %d", sends, handles, maxKinds)
	}
}
