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
		common := []attribute.KeyValue{
			system(o.Scheme), semconv.MessagingOperationName("process"), semconv.MessagingDestinationName(o.Channel),
			semconv.MessagingDestinationSubscriptionName(o.Subscription),
		}
		if o.Group != "" {
			common = append(common, semconv.MessagingConsumerGroupName(o.Group))
		}
		ctx, span := i.begin(ctx, &e, o.Channel, common)
		began, returned := time.Now(), false
		defer func() {
			if !returned { // a panic, which is turned into an error outside of this, or runtime.Goexit
				span.SetAttributes(semconv.ErrorTypeKey.String("panic"))
				span.SetStatus(codes.Error, "the handler panicked")
				span.End()
				common = append(common, semconv.ErrorTypeKey.String("panic"))
			}
			i.duration.Record(ctx, time.Since(began).Seconds(), metric.WithAttributes(common...))
		}()
		err = next(ctx, e)
		returned = true
		if err != nil {
			common = append(common, errorType(err))
		}
		finishAttempt(span, err)
		return err
	}
}

// begin starts the span of an attempt. The span of the context that a bus was run with is not its parent: everything
// would be in one trace.
func (i *instrument) begin(
	ctx context.Context, e *schema.Event, channel string, common []attribute.KeyValue,
) (context.Context, trace.Span) {
	ctx = i.propagator.Extract(trace.ContextWithSpanContext(ctx, trace.SpanContext{}), carrier{e})
	attrs := append(common[:len(common):len(common)],
		semconv.MessagingOperationTypeProcess, semconv.MessagingMessageID(e.ID), keyEventType.String(e.Type),
		keyAttempt.Int(router.Attempt(ctx)))
	attrs = append(attrs, conversation(e)...)
	opts := []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindConsumer), trace.WithAttributes(attrs...)}
	if publisher := trace.SpanContextFromContext(ctx); !i.child {
		opts = append(opts, trace.WithNewRoot())
		if publisher.IsValid() {
			opts = append(opts, trace.WithLinks(trace.Link{SpanContext: publisher}))
		}
	}
	ctx, span := i.tracer.Start(ctx, "process "+channel, opts...)
	if id := span.SpanContext(); id.IsValid() {
		ctx = bus.WithTraceID(ctx, id.TraceID().String())
	}
	return ctx, span
}

// finishAttempt ends the span of an attempt. An event that its handler dropped was handled as it was meant to be.
func finishAttempt(span trace.Span, err error) {
	if dropped := new(router.DropError); errors.As(err, &dropped) {
		span.SetAttributes(errorType(err))
		span.End()
		return
	}
	finish(span, err)
}
