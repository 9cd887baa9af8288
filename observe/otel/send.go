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
type carrier struct{ e *schema.Event }

// Get implements propagation.TextMapCarrier.
func (c carrier) Get(key string) string { return c.e.Metadata.Text(key) }

// Set implements propagation.TextMapCarrier.
func (c carrier) Set(key, value string) { _ = c.e.Metadata.Set(key, value) } // a text always has its JSON

// Keys implements propagation.TextMapCarrier.
func (c carrier) Keys() (keys []string) {
	for key := range c.e.Metadata.Keys() {
		keys = append(keys, key)
	}
	return keys
}

// Sending implements bus.Tracer.
func (i *instrument) Sending(
	ctx context.Context, e *schema.Event, s bus.Sending,
) (headers []brokers.Header, end func(error)) {
	if !trace.SpanContextFromContext(ctx).IsValid() {
		ctx = i.propagator.Extract(ctx, carrier{e})
	}
	if !i.onlyPropagate {
		name, attrs := sendAttributes(e, s)
		var span trace.Span
		ctx, span = i.tracer.Start(ctx, name, trace.WithSpanKind(trace.SpanKindProducer), trace.WithAttributes(attrs...))
		end = func(err error) { finish(span, err) }
	}
	i.propagator.Inject(ctx, carrier{e})
	return i.headers(e), end
}

// headers are what the propagator has written, for brokers that carry headers.
func (i *instrument) headers(e *schema.Event) (headers []brokers.Header) {
	if i.noHeaders {
		return nil
	}
	for _, key := range i.propagator.Fields() {
		if v := e.Metadata.Text(key); v != "" && !strings.ContainsAny(v, "\r\n\x00") {
			headers = append(headers, brokers.Header{Key: key, Value: v})
		}
	}
	return headers
}

// sendAttributes name the span of an event that is published, and describe it.
func sendAttributes(e *schema.Event, s bus.Sending) (name string, attrs []attribute.KeyValue) {
	operation, kind := "send", semconv.MessagingOperationTypeSend
	if s.Packed {
		operation, kind = "create", semconv.MessagingOperationTypeCreate
	}
	attrs = append(attrs,
		system(s.To[0].Scheme), semconv.MessagingOperationName(operation), kind,
		semconv.MessagingMessageID(e.ID), keyEventType.String(e.Type),
	)
	attrs = append(attrs, conversation(e)...)
	if len(s.To) == 1 {
		return operation + " " + s.To[0].Channel, append(attrs, semconv.MessagingDestinationName(s.To[0].Channel))
	}
	channels := make([]string, len(s.To))
	for i, to := range s.To {
		channels[i] = to.Channel
	}
	return operation + " " + e.Type, append(attrs, keyChannels.StringSlice(channels))
}

// conversation is the correlation of an event, where it has one.
func conversation(e *schema.Event) []attribute.KeyValue {
	if id := e.Metadata.Text("correlation_id"); id != "" {
		return []attribute.KeyValue{semconv.MessagingMessageConversationID(id)}
	}
	return nil
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
