package otel

import (
	"context"
	"errors"
	"fmt"
	"strings"

	api "go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/router"
	"github.com/eventbus-go/eventbus/router/middleware"
)

// scope names what makes the spans and measurements.
const scope = "github.com/eventbus-go/eventbus/observe/otel"

// An Option changes what Instrument does.
type Option func(*instrument)

// WithTracerProvider sets where spans go. The default is the global provider.
func WithTracerProvider(p trace.TracerProvider) Option { return func(i *instrument) { i.traces = p } }

// WithMeterProvider sets where the durations of handlers go. The default is the global provider.
func WithMeterProvider(p metric.MeterProvider) Option { return func(i *instrument) { i.meters = p } }

// WithPropagator sets how a context is written into metadata and headers. The default is W3C Trace Context, and not the
// global propagator: what that writes, such as baggage, every subscriber and every log of an event would see.
func WithPropagator(p propagation.TextMapPropagator) Option {
	return func(i *instrument) { i.propagator = p }
}

// AsChild makes the span of a handler a child of the publisher's, in one trace, instead of the root of a trace of its
// own that links to it. One trace then has all that follows from an event, however many subscriptions and hours that
// may be.
func AsChild() Option { return func(i *instrument) { i.child = true } }

// OnlyPropagate writes the caller's context into events, without spans of the kind producer.
func OnlyPropagate() Option { return func(i *instrument) { i.onlyPropagate = true } }

// WithoutHeaders leaves the context out of headers. It is in the metadata, which all of our subscribers read.
func WithoutHeaders() Option { return func(i *instrument) { i.noHeaders = true } }

// Instrument returns the option of a bus by which its events are followed. Give it before other middleware, so that
// what that does is inside of the handler's span, and logs have its trace id.
//
// The durations of attempts are recorded as messaging.process.duration.
func Instrument(opts ...Option) bus.Option {
	i := newInstrument(opts...)
	return bus.Together(bus.WithTracer(i), bus.WithMiddleware(i.middleware))
}

func newInstrument(opts ...Option) *instrument {
	i := &instrument{propagator: propagation.TraceContext{}}
	for _, o := range opts {
		o(i)
	}
	if i.traces == nil {
		i.traces = api.GetTracerProvider()
	}
	if i.meters == nil {
		i.meters = api.GetMeterProvider()
	}
	i.tracer = i.traces.Tracer(scope, trace.WithSchemaURL(semconv.SchemaURL))
	i.duration = durations(i.meters)
	i.fields = i.propagator.Fields()
	return i
}

type instrument struct {
	traces     trace.TracerProvider
	meters     metric.MeterProvider
	propagator propagation.TextMapPropagator

	child, onlyPropagate, noHeaders bool

	tracer   trace.Tracer
	duration metric.Float64Histogram
	fields   []string // of the propagator

	sends   cache[sendKey, *sendKind]
	handles cache[handleKey, *handleKind]
}

// What no convention has a name for.
const (
	keyEventType = attribute.Key("eventbus.event.type")
	keyChannels  = attribute.Key("eventbus.channels")
	keyAttempt   = attribute.Key("eventbus.attempt")
)

// system is the name that the conventions have for the broker of a URL's scheme.
func system(scheme string) attribute.KeyValue {
	base, _, _ := strings.Cut(scheme, "+")
	switch {
	case strings.HasPrefix(base, "amqp"):
		return semconv.MessagingSystemRabbitMQ
	case strings.HasPrefix(base, "kafka"):
		return semconv.MessagingSystemKafka
	case strings.HasPrefix(base, "redis"):
		return semconv.MessagingSystemKey.String("redis")
	case base == "":
		return semconv.MessagingSystemKey.String("eventbus") // the bus was given the connection
	}
	return semconv.MessagingSystemKey.String(base)
}

// errorType says in a word what kind of error err is.
func errorType(err error) attribute.KeyValue {
	var refused *bus.EventError
	var panicked *middleware.PanicError
	var dropped *router.DropError
	switch {
	case errors.As(err, &refused):
		return semconv.ErrorTypeKey.String("refused_by_" + refused.Stage)
	case errors.As(err, &panicked):
		return semconv.ErrorTypeKey.String("panic")
	case errors.As(err, &dropped):
		return semconv.ErrorTypeKey.String("dropped")
	case errors.Is(err, context.DeadlineExceeded):
		return semconv.ErrorTypeKey.String("timeout")
	case errors.Is(err, context.Canceled):
		return semconv.ErrorTypeKey.String("canceled")
	}
	return semconv.ErrorTypeKey.String(fmt.Sprintf("%T", root(err)))
}

// root is the innermost of the errors that wrap a single one.
func root(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}
