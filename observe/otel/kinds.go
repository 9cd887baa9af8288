package otel

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/schema"
)

// What events of a kind have in common is made once for all of them, in the form that the API takes it in: also a span that nobody
// records has its attributes made, since the sampler is to see them.

// maxKinds bounds what is kept, since publishers choose the types of events. What comes later is made for each event.
const maxKinds = 1000

// A cache is read without a lock. The zero value is empty.
type cache[K comparable, V any] struct {
	known atomic.Pointer[map[K]V] // never changed
	mu    sync.Mutex              // of who replaces it
}

func (c *cache[K, V]) get(key K) (value V, ok bool) {
	if known := c.known.Load(); known != nil {
		value, ok = (*known)[key]
	}
	return value, ok
}

func (c *cache[K, V]) put(key K, value V) {
	c.mu.Lock()
	defer c.mu.Unlock()
	known := make(map[K]V)
	if old := c.known.Load(); old != nil {
		known = maps.Clone(*old)
	}
	if _, again := known[key]; !again && len(known) >= maxKinds {
		return
	}
	known[key] = value
	c.known.Store(&known)
}

// A sendKey tells kinds of events that are published. Those that go elsewhere although they are of one kind, since their sources differ,
// take turns in its place.
type sendKey struct {
	eventType string
	priority  schema.Priority
	packed    bool
}

// A sendKind is what spans of the kind producer have in common.
type sendKind struct {
	to   []bus.Destination
	name string
	opts []trace.SpanStartOption
}

func (i *instrument) sendKind(e *schema.Event, s bus.Sending) *sendKind {
	key := sendKey{e.Type, e.Priority, s.Packed}
	if k, ok := i.sends.get(key); ok && slices.Equal(k.to, s.To) {
		return k
	}
	name, attrs := sendAttributes(e.Type, s)
	k := &sendKind{slices.Clone(s.To), name, []trace.SpanStartOption{
		trace.WithSpanKind(trace.SpanKindProducer), trace.WithAttributes(attrs...),
	}}
	i.sends.put(key, k)
	return k
}

// sendAttributes name the span of an event that is published, and describe its kind.
func sendAttributes(eventType string, s bus.Sending) (name string, attrs []attribute.KeyValue) {
	operation, kind := "send", semconv.MessagingOperationTypeSend
	if s.Packed {
		operation, kind = "create", semconv.MessagingOperationTypeCreate
	}
	attrs = append(attrs,
		system(s.To[0].Scheme), semconv.MessagingOperationName(operation), kind, keyEventType.String(eventType),
	)
	if len(s.To) == 1 {
		return operation + " " + s.To[0].Channel, append(attrs, semconv.MessagingDestinationName(s.To[0].Channel))
	}
	channels := make([]string, len(s.To))
	for i, to := range s.To {
		channels[i] = to.Channel
	}
	return operation + " " + eventType, append(attrs, keyChannels.StringSlice(channels))
}

// A handleKey tells kinds of events that are handled.
type handleKey struct {
	from      bus.Origin
	eventType string
}

// A handleKind is what spans of the kind consumer, and measurements, have in common.
type handleKind struct {
	name    string
	opts    []trace.SpanStartOption
	common  []attribute.KeyValue // of measurements
	success []metric.RecordOption
}

func (i *instrument) handleKind(o bus.Origin, eventType string) *handleKind {
	key := handleKey{o, eventType}
	if k, ok := i.handles.get(key); ok {
		return k
	}
	common := []attribute.KeyValue{
		system(o.Scheme), semconv.MessagingOperationName("process"), semconv.MessagingDestinationName(o.Channel),
		semconv.MessagingDestinationSubscriptionName(o.Subscription),
	}
	if o.Group != "" {
		common = append(common, semconv.MessagingConsumerGroupName(o.Group))
	}
	common = slices.Clip(common)
	k := &handleKind{
		name: "process " + o.Channel, common: common,
		success: []metric.RecordOption{metric.WithAttributeSet(attribute.NewSet(slices.Clone(common)...))},
		opts: []trace.SpanStartOption{
			trace.WithSpanKind(trace.SpanKindConsumer),
			trace.WithAttributes(append(common, semconv.MessagingOperationTypeProcess, keyEventType.String(eventType))...),
		},
	}
	if !i.child {
		k.opts = append(k.opts, trace.WithNewRoot())
	}
	k.opts = slices.Clip(k.opts)
	i.handles.put(key, k)
	return k
}

// measured are the options of a measurement. kind is that of the error, where there is one.
func (k *handleKind) measured(kind attribute.KeyValue) []metric.RecordOption {
	if !kind.Valid() {
		return k.success
	}
	return []metric.RecordOption{metric.WithAttributes(append(k.common, kind)...)}
}
