package otel

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/router"
	"github.com/eventbus-go/eventbus/schema"
)

// durations is the histogram that the conventions require of who processes messages, with the bounds that they advise.
func durations(p metric.MeterProvider) metric.Float64Histogram {
	h, err := p.Meter(scope, metric.WithSchemaURL(semconv.SchemaURL)).Float64Histogram("messaging.process.duration",
		metric.WithUnit("s"), metric.WithDescription("Duration of processing operation."),
		metric.WithExplicitBucketBoundaries(0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10))
	if err != nil { // of a provider that knows the name otherwise: spans are worth having alone
		return noop.Float64Histogram{}
	}
	return h
}

// middleware follows each attempt to handle an event.
func (i *instrument) middleware(next bus.Handler) bus.Handler {
	return func(ctx context.Context, e schema.Event) (err error) {
		o, _ := bus.OriginOf(ctx)
		k := i.handleKind(o, e.Type)
		ctx, span := i.begin(ctx, &e, k)
		began, returned, failure := time.Now(), false, attribute.KeyValue{}
		defer func() {
			if !returned { // a panic, which is turned into an error outside of this, or runtime.Goexit
				failure = semconv.ErrorTypeKey.String("panic")
				span.SetAttributes(failure)
				span.SetStatus(codes.Error, "the handler panicked")
				span.End()
			}
			i.duration.Record(ctx, time.Since(began).Seconds(), k.measured(failure)...)
		}()
		err = next(ctx, e)
		returned = true
		if err != nil {
			failure = errorType(err)
		}
		finishAttempt(span, err)
		return err
	}
}

// begin starts the span of an attempt. The span of the context that a bus was run with is not its parent: everything
// would be in one trace.
func (i *instrument) begin(ctx context.Context, e *schema.Event, k *handleKind) (context.Context, trace.Span) {
	attempt := router.Attempt(ctx)
	if trace.SpanContextFromContext(ctx).IsValid() {
		ctx = trace.ContextWithSpanContext(ctx, trace.SpanContext{})
	}
	metadata := e.Metadata // so that it alone escapes
	ctx = i.propagator.Extract(ctx, carrier{&metadata})
	opts := k.opts
	if publisher := trace.SpanContextFromContext(ctx); !i.child && publisher.IsValid() {
		opts = append(opts, trace.WithLinks(trace.Link{SpanContext: publisher}))
	}
	ctx, span := i.tracer.Start(ctx, k.name, opts...)
	if span.IsRecording() {
		span.SetAttributes(ofEvent(e, keyAttempt.Int(attempt))...)
	}
	if id := span.SpanContext(); id.IsValid() {
		ctx = bus.WithTraceID(ctx, id.TraceID().String())
	}
	return ctx, span
}

// finishAttempt ends the span of an attempt. An event that its handler dropped was handled as it was meant to be.
func finishAttempt(span trace.Span, err error) {
	if err != nil && errors.As(err, new(*router.DropError)) {
		span.SetAttributes(errorType(err))
		span.End()
		return
	}
	finish(span, err)
}
