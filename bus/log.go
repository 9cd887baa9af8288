package bus

import (
	"context"
	"log/slog"
	"strings"

	"github.com/eventbus-go/eventbus/router"
	"github.com/eventbus-go/eventbus/schema"
)

// The keys under which everything that the bus and its handlers log names what it is about.
const (
	LogEventID      = "event_id"
	LogEventType    = "event_type"
	LogChannel      = "channel"
	LogSubscription = "subscription"
	LogBroker       = "broker" // where the bus has several
	LogAttempt      = "attempt"
	LogTraceID      = "trace_id" // where the event's metadata has a traceparent
)

// Logger returns the logger of [WithLogger] for a handler of an event: what it logs has the event's id and type, its
// channel and subscription, the attempt, and the trace id. ctx is the handler's; of another one only what the event
// says is added, and the logger is slog.Default(). For code below a handler that knows no event, see [LogHandler].
func Logger(ctx context.Context, e schema.Event) *slog.Logger {
	log := slog.Default()
	if o := originOf(ctx); o != nil {
		log = o.log
	}
	attrs := append(eventAttrs(ctx, &e), originAttrs(ctx)...)
	if h, ok := log.Handler().(*logHandler); ok {
		return slog.New(h.with(attrs)) // which adds them no second time
	}
	return slog.New(log.Handler().WithAttrs(attrs))
}

type (
	logEventKey struct{}
	traceIDKey  struct{}
)

// LogContext is a middleware that puts the event into the handler's context, for [LogHandler]. It costs an allocation
// or two for each event.
func LogContext(next Handler) Handler {
	return func(ctx context.Context, e schema.Event) error {
		return next(context.WithValue(ctx, logEventKey{}, &e), e)
	}
}

// WithTraceID returns a context whose logs have this trace id instead of the one in the event's metadata. It is for
// middleware that begins a trace of its own.
func WithTraceID(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, traceIDKey{}, id)
}

// LogHandler adds to each record that is logged with a handler's context what [Logger] adds: always channel,
// subscription and attempt, and id and type of the event and its trace id where the subscription has the middleware
// [LogContext]. They stand at the top level, also where the logger has groups. Records that are logged elsewhere pass
// unchanged.
//
//	slog.SetDefault(slog.New(bus.LogHandler(slog.NewJSONHandler(os.Stderr, nil))))
//	b, err := bus.Open(ctx, url, bus.WithMiddleware(bus.LogContext))
func LogHandler(next slog.Handler) slog.Handler { return &logHandler{base: next, inner: next} }

// A logHandler keeps what was done to its base since the first group, to do it again beneath what a context adds.
type logHandler struct {
	base  slog.Handler // without groups
	inner slog.Handler // with all of them
	since []func(slog.Handler) slog.Handler
}

// Enabled implements slog.Handler.
func (h *logHandler) Enabled(ctx context.Context, l slog.Level) bool { return h.inner.Enabled(ctx, l) }

// Handle implements slog.Handler.
func (h *logHandler) Handle(ctx context.Context, r slog.Record) error {
	attrs := originAttrs(ctx)
	if e, ok := ctx.Value(logEventKey{}).(*schema.Event); ok {
		attrs = append(eventAttrs(ctx, e), attrs...)
	}
	if len(attrs) == 0 {
		return h.inner.Handle(ctx, r)
	}
	return h.with(attrs).Handle(ctx, r)
}

// with returns the handler beneath, with attributes at its top level.
func (h *logHandler) with(attrs []slog.Attr) slog.Handler {
	to := h.base.WithAttrs(attrs)
	for _, do := range h.since {
		to = do(to)
	}
	return to
}

// WithAttrs implements slog.Handler.
func (h *logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	if len(h.since) == 0 {
		return LogHandler(h.base.WithAttrs(attrs))
	}
	return h.then(func(to slog.Handler) slog.Handler { return to.WithAttrs(attrs) })
}

// WithGroup implements slog.Handler.
func (h *logHandler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	return h.then(func(to slog.Handler) slog.Handler { return to.WithGroup(name) })
}

func (h *logHandler) then(do func(slog.Handler) slog.Handler) slog.Handler {
	return &logHandler{base: h.base, inner: do(h.inner), since: append(h.since[:len(h.since):len(h.since)], do)}
}

// eventAttrs names an event.
func eventAttrs(ctx context.Context, e *schema.Event) []slog.Attr {
	attrs := []slog.Attr{slog.String(LogEventID, e.ID), slog.String(LogEventType, e.Type)}
	id, ok := ctx.Value(traceIDKey{}).(string)
	if !ok {
		id = traceID(e)
	}
	if id != "" {
		attrs = append(attrs, slog.String(LogTraceID, id))
	}
	return attrs
}

// originAttrs names where the event of a handler's context came from; none for another context.
func originAttrs(ctx context.Context) []slog.Attr {
	o := originOf(ctx)
	if o == nil {
		return nil
	}
	attrs := []slog.Attr{
		slog.String(LogSubscription, o.Subscription), slog.String(LogChannel, o.Channel), slog.Int(LogAttempt, router.Attempt(ctx)),
	}
	if o.Broker != "" {
		attrs = append(attrs, slog.String(LogBroker, o.Broker))
	}
	return attrs
}

// attrsOf names the event of an item, for the bus's own records.
func attrsOf(it *item, more ...any) []any {
	e := &it.event
	attrs := []any{LogEventID, e.ID, LogEventType, e.Type, LogChannel, it.channel}
	if id := traceID(e); id != "" {
		attrs = append(attrs, LogTraceID, id)
	}
	return append(attrs, more...)
}

// traceID is the trace id in an event's traceparent, as W3C Trace Context writes it: version-trace-span-flags. It is
// empty where there is none.
func traceID(e *schema.Event) string {
	if e.Metadata.Len() == 0 {
		return ""
	}
	parts := strings.Split(e.Metadata.Text("traceparent"), "-")
	if len(parts) < 4 || len(parts[1]) != 32 || strings.Trim(parts[1], "0123456789abcdef") != "" {
		return ""
	}
	return parts[1]
}
