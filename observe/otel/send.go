package otel

import (
	"context"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/schema"
)

// A carrier is an event's metadata, as a propagator reads and writes it.
type carrier struct{ m *schema.Metadata }

// Get implements propagation.TextMapCarrier.
func (c carrier) Get(key string) string { return c.m.Text(key) }

// Set implements propagation.TextMapCarrier.
func (c carrier) Set(key, value string) { _ = c.m.SetText(key, value) } // a propagator's keys are UTF-8

// Keys implements propagation.TextMapCarrier.
func (c carrier) Keys() (keys []string) {
	for key := range c.m.Keys() {
		keys = append(keys, key)
	}
	return keys
}

// Sending implements bus.Tracer.
func (i *instrument) Sending(
	ctx context.Context, e *schema.Event, s bus.Sending,
) (headers []brokers.Header, end func(error)) {
	if !trace.SpanContextFromContext(ctx).IsValid() {
		ctx = i.propagator.Extract(ctx, carrier{&e.Metadata})
	}
	if !i.onlyPropagate {
		ctx, end = i.send(ctx, e, i.sendKind(e, s))
	}
	i.propagator.Inject(ctx, carrier{&e.Metadata})
	return i.headers(e), end
}

// send starts the span of an event that is published. One that nobody records needs no end.
func (i *instrument) send(ctx context.Context, e *schema.Event, k *sendKind) (_ context.Context, end func(error)) {
	ctx, span := i.tracer.Start(ctx, k.name, k.opts...)
	if span.IsRecording() {
		span.SetAttributes(ofEvent(e)...)
		end = func(err error) { finish(span, err) }
	}
	return ctx, end
}

// headers are what the propagator has written, for brokers that carry headers.
func (i *instrument) headers(e *schema.Event) (headers []brokers.Header) {
	if i.noHeaders {
		return nil
	}
	for _, key := range i.fields {
		if v := e.Metadata.Text(key); v != "" && !strings.ContainsAny(v, "\r\n\x00") {
			headers = append(headers, brokers.Header{Key: key, Value: v})
		}
	}
	return headers
}

// ofEvent are the attributes of one event alone. Most spans that are not recorded do without.
func ofEvent(e *schema.Event, more ...attribute.KeyValue) []attribute.KeyValue {
	attrs := append(more, semconv.MessagingMessageID(e.ID))
	if id := e.Metadata.Text("correlation_id"); id != "" {
		attrs = append(attrs, semconv.MessagingMessageConversationID(id))
	}
	return attrs
}

// finish ends a span with the outcome of what it is of.
func finish(span trace.Span, err error) {
	if err != nil {
		span.SetAttributes(errorType(err))
		span.SetStatus(codes.Error, brief(err.Error()))
	}
	span.End()
}

// maxDescription is how much of an error's text a span shows, in bytes.
const maxDescription = 1 << 10

// brief cuts a text between two runes.
func brief(s string) string {
	if len(s) <= maxDescription {
		return s
	}
	return strings.ToValidUTF8(s[:maxDescription], "") + "…"
}
