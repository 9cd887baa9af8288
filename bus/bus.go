package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/router"
	"github.com/eventbus-go/eventbus/schema"
)

// A Bus publishes events and hands them to subscriptions. Make it with [Open] or one of its siblings, and end it with Close.
// Its methods are safe for concurrent use.
type Bus struct {
	source    string
	scheme    string // of the broker's URL, for errors
	limits    limits
	forbidden *schema.Forbidden
	router    *router.Router
	enricher  func(context.Context, *schema.Event)
	hooks     Hooks
	mw        []router.Middleware // of every subscription
	log       *slog.Logger

	configured map[string]SubscriptionConfig
	errors     []namedError // which a configuration can name

	out      *outlet
	packers  packerPool
	reporter *reporter

	closed  atomic.Bool
	refused atomic.Int64
	panics  atomic.Int64
	stacks  sync.Map // places whose panics were logged with a stack

	mu        sync.Mutex
	subs      map[string]*consumer
	run       *running
	isClosing bool

	ready    chan struct{} // closed when all subscriptions are confirmed
	done     chan struct{} // closed when Close has done its work
	closeErr error         // before done
}

// limits are the checked settings that publishing and handling look up.
type limits struct {
	MaxEventBytes  int
	PublishTimeout time.Duration
	Shutdown       time.Duration
}

// New makes a Bus on a connection that the caller has opened, with the settings of cfg, whose URL is not used. Close closes
// the connection. Of ctx only the values are used.
func New(ctx context.Context, conn brokers.Conn, cfg Config, opts ...Option) (*Bus, error) {
	return newBus(ctx, conn, "the given connection", cfg, opts)
}

func newBus(ctx context.Context, conn brokers.Conn, scheme string, cfg Config, opts []Option) (*Bus, error) {
	var o options
	for _, opt := range opts {
		opt(&o)
	}
	if o.source != "" {
		cfg.Source = o.source
	}
	if o.rules != nil {
		cfg.Config = *o.rules
	}
	cfg.setDefaults()
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("bus: configuration: %w", err)
	}
	r, err := router.New(cfg.Config)
	if err != nil {
		return nil, fmt.Errorf("bus: configuration: %w", err)
	}
	b := &Bus{
		source: cfg.Source, scheme: scheme, forbidden: cfg.forbidden(), router: r,
		limits:   limits{MaxEventBytes: int(cfg.MaxEventBytes), PublishTimeout: cfg.Publish.Timeout, Shutdown: cfg.Shutdown},
		enricher: o.enrich, hooks: o.hooks, mw: o.mw, log: o.logger(),
		configured: cfg.Subscriptions, errors: o.errors,
		subs: make(map[string]*consumer), ready: make(chan struct{}), done: make(chan struct{}),
	}
	b.reporter = newReporter(context.WithoutCancel(ctx), b.log, o.hooks.Dropped, b.panicked)
	go b.reporter.run()
	b.out = newOutlet(ctx, conn, cfg.Publish.LaneConfig, b.reporter.dropped, b.panicked)
	return b, nil
}

// refuse counts events that were not accepted, and logs them at a limited rate: the caller of Emit may not look at err.
func (b *Bus) refuse(err error, events int) error {
	b.refused.Add(int64(events))
	if p := new(schema.PanicError); errors.As(err, &p) {
		b.notePanic("payload codec", p.Value, p.Stack)
	}
	b.reporter.note("refused", slog.LevelWarn, "events refused", "err", err)
	return err
}

// Stats returns a snapshot of everything the bus counts. Each ledger in it balances.
func (b *Bus) Stats() Stats {
	st := Stats{
		Published: b.out.snapshot(), Refused: b.refused.Load(), Panics: b.panics.Load(),
		HooksMissed: b.reporter.hooksMissed(), Subscriptions: make(map[string]SubscriptionStats),
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for name, c := range b.subs {
		st.Subscriptions[name] = c.stats()
	}
	return st
}

// Explain says which rules an event matches, and which channels they send it to. The event need not be complete.
func (b *Bus) Explain(e schema.Event) router.Explanation {
	if e.Source == "" {
		e.Source = b.source
	}
	return b.router.Explain(e)
}

// Ready is closed when Run is running and the broker has confirmed every subscription: what is published from then on
// arrives, or is reported as a gap.
func (b *Bus) Ready() <-chan struct{} { return b.ready }

// Health asks the broker for a sign of life and checks that every subscription of a running bus is confirmed. It returns
// nil, or an error that says what is wrong; it waits for the broker until ctx ends.
func (b *Bus) Health(ctx context.Context) error {
	if b.closed.Load() {
		return ErrClosed
	}
	var errs []error
	if err := ping(ctx, b.out.conn); err != nil {
		errs = append(errs, fmt.Errorf("bus: %s: the broker does not answer: %w", b.scheme, err))
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.run == nil {
		return errors.Join(errs...)
	}
	for name, c := range b.subs {
		if !c.stats().Ready {
			errs = append(errs, &SubscriptionError{Name: name, Err: errors.New("the broker has not confirmed it yet")})
		}
	}
	return errors.Join(errs...)
}
