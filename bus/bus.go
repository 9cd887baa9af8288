package bus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/router"
	"github.com/eventbus-go/eventbus/schema"
	"github.com/eventbus-go/eventbus/store/dedup"
)

// A Bus publishes events and hands them to subscriptions. Make it with [Open] or one of its siblings, and end it with Close.
// Its methods are safe for concurrent use.
type Bus struct {
	source    string
	limits    limits
	forbidden *schema.Forbidden
	router    *router.Router
	enricher  func(context.Context, *schema.Event)
	hooks     Hooks
	tracer    Tracer
	mw        []router.Middleware // of every subscription
	log       *slog.Logger

	configured map[string]SubscriptionConfig
	errors     []namedError // which a configuration can name

	keeper        *keeper // nil where there are no dead letters
	lettersChosen bool    // where they are was asked for

	dedup  dedup.Store // of subscriptions that name none; nil until one needs it, or the configuration names it
	server string      // the URL of the default broker, empty where it is not known

	links    []*link   // the default broker's first
	exits    []*outlet // by the router's numbers
	packers  packerPool
	readings bool // see keepsReadings
	calls    callPool
	reporter *reporter

	closed  atomic.Bool
	refused atomic.Int64
	panics  atomic.Int64
	stacks  sync.Map // places whose panics were logged with a stack

	measuring atomic.Bool

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
	EnsureChannels bool
}

// New makes a Bus on a connection that the caller has opened, with the settings of cfg. It is that of the default broker,
// whose URL is not used; other brokers of cfg are opened, unless [WithBroker] gives a connection. Close closes all of them.
// Of ctx only the values are used.
func New(ctx context.Context, conn brokers.Conn, cfg Config, opts ...Option) (*Bus, error) {
	cfg.Broker = cmp.Or(cfg.Broker, DefaultBroker)
	cfg.URL = ""
	return open(ctx, cfg, append(slices.Clip(opts), WithBroker(cfg.Broker, conn)))
}

// open checks everything before it opens anything.
func open(ctx context.Context, cfg Config, opts []Option) (*Bus, error) {
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
	plans, err := cfg.plans(o.conns)
	if err = cmp.Or(cfg.check(), err); err != nil {
		return nil, fmt.Errorf("bus: configuration: %w", err)
	}
	r, err := cfg.router(plans)
	if err != nil {
		return nil, fmt.Errorf("bus: configuration: %w", err)
	}
	var server string // that the default broker is on; unknown where its connection is given
	if o.conns[plans[0].name] == nil {
		server = plans[0].url
	}
	letters, err := cfg.openLetters(server, o.letters)
	if err != nil {
		return nil, fmt.Errorf("bus: configuration: %w", err)
	}
	handled, err := cfg.openDedup()
	if err != nil {
		return nil, fmt.Errorf("bus: configuration: %w", errors.Join(err, letters.discard()))
	}
	links, err := openLinks(ctx, plans, o.conns)
	if err != nil {
		return nil, fmt.Errorf("bus: open: %w", errors.Join(err, letters.discard(), discardDedup(handled)))
	}
	o.letters, o.lettersOwned = letters.store, letters.owned
	b := newBus(ctx, &cfg, &o, r, links, plans)
	b.dedup, b.server = handled, server
	return b, nil
}

func newBus(ctx context.Context, cfg *Config, o *options, r *router.Router, links []*link, plans []brokerPlan) *Bus {
	b := &Bus{
		source: cfg.Source, forbidden: cfg.forbidden(), router: r, links: links,
		limits: limits{
			MaxEventBytes: cfg.MaxEventBytes, PublishTimeout: cfg.Publish.Timeout, Shutdown: cfg.Shutdown,
			EnsureChannels: cfg.EnsureChannels,
		},
		enricher: o.enrich, tracer: o.tracer, hooks: o.hooks, mw: o.mw, log: o.logger(),
		configured: cfg.Subscriptions, errors: o.errors,
		subs: make(map[string]*consumer), ready: make(chan struct{}), done: make(chan struct{}),
	}
	b.reporter = newReporter(context.WithoutCancel(ctx), b.log, o.hooks.Dropped, b.panicked)
	b.readings = b.keepsReadings()
	go b.reporter.run()
	b.keepLetters(ctx, cfg, o)
	for i, l := range links {
		l.guard, l.note = b.contain, b.reporter.note
		l.avail = newAvailability(ctx, plans[i].lanes.FallbackAfter, l, b.switched(l))
	}
	for _, e := range r.Exits() {
		to, fallback := b.link(e.Broker), b.link(e.Fallback)
		lanes := plans[slices.Index(links, to)].lanes
		b.exits = append(b.exits, newOutlet(ctx, to, fallback, lanes, b.reporter.droppedBy(to.tag), b.panicked))
		b.warnOfFallback(to, fallback)
	}
	return b
}

// link returns the broker of a name, or nil.
func (b *Bus) link(name string) *link {
	i := slices.IndexFunc(b.links, func(l *link) bool { return l.name == name })
	if i < 0 {
		return nil
	}
	return b.links[i]
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
		Refused: b.refused.Load(), Panics: b.panics.Load(), HooksMissed: b.reporter.hooksMissed(),
		Brokers: b.brokerStats(), DeadLetters: b.keeper.stats(), Subscriptions: make(map[string]SubscriptionStats),
	}
	for _, s := range st.Brokers {
		st.Published.add(s.Published)
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
