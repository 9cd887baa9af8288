package bus

import (
	"context"
	"log/slog"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/router"
	"github.com/eventbus-go/eventbus/schema"
	"github.com/eventbus-go/eventbus/store/deadletter"
)

// An Option sets what a configuration file cannot hold, or overrides what it says.
type Option func(*options)

type options struct {
	source string
	rules  *router.Config
	hooks  Hooks
	mw     []router.Middleware
	enrich func(context.Context, *schema.Event)
	log    *slog.Logger
	errors []namedError
	tracer Tracer
	conns  map[string]brokers.Conn

	letters      deadletter.Store
	lettersOwned bool
}

func (o *options) logger() *slog.Logger {
	if o.log == nil {
		return slog.Default()
	}
	return o.log
}

// WithSource names the publishing service. It goes into events whose Source is empty, and overrides Config.Source.
func WithSource(name string) Option { return func(o *options) { o.source = name } }

// WithRules overrides the configuration's prefix and rules.
func WithRules(rules router.Config) Option { return func(o *options) { o.rules = &rules } }

// WithBroker gives the bus a connection that the caller has opened, as the broker of that name. It is one of Config.Brokers,
// whose URL is then not used, or one more. The bus closes it.
func WithBroker(name string, conn brokers.Conn) Option {
	return func(o *options) {
		if o.conns == nil {
			o.conns = make(map[string]brokers.Conn)
		}
		o.conns[name] = conn
	}
}

// WithHooks sets the hooks.
func WithHooks(h Hooks) Option { return func(o *options) { o.hooks = h } }

// WithLogger sets where the bus logs what goes wrong, at a limited rate. The default is slog.Default(). A handler of it
// that blocks never blocks a publisher.
func WithLogger(l *slog.Logger) Option { return func(o *options) { o.log = l } }

// WithDeadLetters sets the store of dead letters, which stays open when the bus is closed. It overrides Config.DeadLetters.
func WithDeadLetters(s deadletter.Store) Option { return func(o *options) { o.letters = s } }

// WithError gives a kind of error a name, by which a configuration's subscriptions may have a retry policy for it. match is
// called concurrently, where an attempt has failed. Of several that match, the one named first counts; "timeout" and "panic"
// are known, and come last.
func WithError(name string, match func(err error) bool) Option {
	return func(o *options) { o.errors = append(o.errors, namedError{name, match}) }
}

// WithEnrich sets a function that adds to each event what the context of Emit or Publish holds, such as a correlation id
// or a tenant in the metadata. It runs on the caller's goroutine, on a copy of the event. Where it panics, the event is
// refused.
func WithEnrich(f func(ctx context.Context, e *schema.Event)) Option {
	return func(o *options) { o.enrich = f }
}

// WithMiddleware wraps the handler of every subscription, outside of the subscription's own middleware and inside retry,
// timeout and recover. The first is outermost; given more than once, the later ones are inside the earlier ones.
func WithMiddleware(mw ...Middleware) Option {
	return func(o *options) { o.mw = append(o.mw, mw...) }
}

// Together makes one option of several, which count in their order.
func Together(opts ...Option) Option {
	return func(o *options) {
		for _, opt := range opts {
			opt(o)
		}
	}
}
