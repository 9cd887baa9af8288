package bus

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
)

// Defaults of a Subscription.
const (
	// DefaultConcurrency is how many handlers of a subscription run at once.
	DefaultConcurrency = 8
	// DefaultHandlerTimeout is how long one attempt may take.
	DefaultHandlerTimeout = 30 * time.Second
	// DefaultPrefetch is how many events a subscription holds that wait for a handler or are being handled.
	DefaultPrefetch = 1024
	// NoTimeout lets an attempt take as long as it takes.
	NoTimeout time.Duration = -1
)

// A Subscription says which events are wanted and who handles them. Name and a handler are required; what is left at its
// zero value has the default it says.
type Subscription struct {
	// Name identifies the subscription in logs, Stats and the broker's own tools. Unique within a Bus.
	Name string

	// Channels are the channels to read, as patterns: "user_service.events.auth", "user_service.events.*". Every event
	// on them is wanted, unless Events or Handlers say otherwise.
	Channels []string
	// Events are the types wanted, as patterns: "role.assigned", "role.*". Without Channels, the bus reads the narrowest
	// channel that the rules send all of them to.
	Events []string

	// Brokers are the brokers to read, by name. Where it is empty, the bus reads all those that the rules send the channels
	// to, the fallbacks of those rules included, and the default broker for channels that no rule names. An event that arrives
	// on several of them is handled once.
	Brokers []string

	// Handler handles every wanted event. Either Handler or Handlers is set.
	Handler Handler
	// Handlers handle events by their types, with the payload decoded; see [On]. Without Events, their types are the
	// wanted ones.
	Handlers []TypedHandler

	// BatchHandler handles events in batches, instead of Handler and Handlers: up to Concurrency batches at once, never two events
	// of one key in them. Middleware wraps each event's way into its batch.
	BatchHandler BatchHandler
	// Batch says how large a batch is, and how long it may take to form.
	Batch BatchConfig

	// Group shares the events among all subscriptions, in all processes, that name the same group; empty means that this
	// subscription sees every event. It needs a broker with consumer groups.
	Group string
	// Start is where a new group begins: at the first retained event, unless brokers.StartNow.
	Start brokers.Start

	// Concurrency is how many handlers run at once, never two of them for one key. Default DefaultConcurrency.
	Concurrency int
	// Prefetch is how many events are held that wait for a handler or are being handled. Default DefaultPrefetch.
	Prefetch int
	// Priorities says whether what is held is handed out by priority. Default PrioritiesOn.
	Priorities Priorities
	// Paused has the subscription begin as after [Sub.Pause], until [Sub.Resume].
	Paused bool
	// Timeout is how long one attempt may take before its context ends. Default DefaultHandlerTimeout; NoTimeout turns
	// it off.
	Timeout time.Duration
	// Stuck is what becomes of a handler that ignores the end of its context: by default it is given up 30 s after its Timeout.
	Stuck StuckPolicy
	// Rate bounds how many events are handed to the handler in a time. Its zero value is no limit.
	Rate RateLimit
	// Breaker pauses the subscription while its handler fails again and again. Its zero value is no breaker.
	Breaker BreakerPolicy
	// Retry is how often an event is tried, and when. Its zero value makes the default number of attempts; a single attempt
	// is Attempts: 1. A wait of more than Retry.InPlace keeps no worker: the broker delivers the event again where it can
	// delay and promises no order; elsewhere the event waits here, and with it the later ones of its key.
	Retry RetryPolicy
	// Dedup recognises events that were handled before, by their ids, also in other processes and after a restart where its
	// Store does. A policy without a Store, such as DedupPolicy{Window: time.Hour}, has that of Config.Dedup. Without it a subscription recognises the copies of an event on several channels alone.
	Dedup DedupPolicy
	// KeepOrder keeps the order of a key when one of its events is given up: the later ones wait behind it in the dead letters,
	// untried, and a redrive to the subscription has them handled in order. It needs a Group, a broker that keeps the order of keys in
	// groups, and dead letters that all processes of the group share; elsewhere it is refused. Each event asks that store first, which
	// costs a round trip; the store's bound bounds how many wait, and where it is full or away the subscription pauses.
	KeepOrder bool
	// Middleware wraps the handler, inside retry, timeout and recover: it runs for each attempt. The first is outermost.
	Middleware []Middleware
}

// A Sub is a subscription that was added to a Bus.
type Sub struct {
	c *consumer
}

// Name returns the subscription's name.
func (s *Sub) Name() string { return s.c.name }

// Channels returns the channel patterns that it reads: those it asked for, or the channel that the bus chose.
func (s *Sub) Channels() []string { return slices.Clone(s.c.sub.Channels) }

// Stats returns a snapshot of what the subscription has counted.
func (s *Sub) Stats() SubscriptionStats { return s.c.stats() }

// A SubscriptionError says why a subscription was refused, or why it ended.
type SubscriptionError struct {
	Name string
	Err  error
}

// Error names the subscription and the reason.
func (e *SubscriptionError) Error() string {
	if refused := new(brokers.CapabilityError); errors.As(e.Err, &refused) {
		return fmt.Sprintf("bus: %v", e.Err) // it names the subscription itself
	}
	return fmt.Sprintf("bus: subscription %q: %v", e.Name, e.Err)
}

// Unwrap returns the reason.
func (e *SubscriptionError) Unwrap() error { return e.Err }

// Subscribe adds a subscription, which starts to receive when Run is called. It refuses, with all reasons at once, one
// that is incomplete or needs a promise its broker does not make. It is not for use while Run is running.
func (b *Bus) Subscribe(s Subscription) (*Sub, error) {
	c, err := b.prepare(s)
	if err != nil {
		return nil, &SubscriptionError{Name: s.Name, Err: err}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.isClosing:
		return nil, ErrClosed
	case b.run != nil:
		return nil, &SubscriptionError{Name: s.Name, Err: errors.New("the bus is running: subscribe before Run")}
	case b.subs[s.Name] != nil:
		return nil, &SubscriptionError{Name: s.Name, Err: errors.New("there is one of that name already: names are unique")}
	}
	b.subs[s.Name] = c
	return &Sub{c}, nil
}

// prepare checks s and compiles it.
func (b *Bus) prepare(s Subscription) (*consumer, error) {
	if err := b.configured[s.Name].apply(&s, b.errors); err != nil {
		return nil, err
	}
	if err := s.check(); err != nil {
		return nil, err
	}
	s.setDefaults()
	wanted, err := s.wanted()
	if err != nil {
		return nil, err
	}
	if len(s.Channels) == 0 {
		channel, err := b.router.Narrowest(wanted)
		if err != nil {
			return nil, err
		}
		s.Channels = []string{channel}
	}
	channels, err := parsePatterns("Channels", s.Channels)
	if err != nil {
		return nil, err
	}
	feeds, err := b.feeds(&s, channels)
	if err != nil {
		return nil, err
	}
	for _, f := range feeds {
		if err := checkPromises(f.link, s); err != nil {
			return nil, err
		}
	}
	if err := b.checkKeepOrder(&s, feeds); err != nil {
		return nil, err
	}
	b.mu.Lock()
	err = b.dedupStore(&s)
	b.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return newConsumer(b, s, feeds, channels, wanted)
}

// feeds says which broker is to be read for which of a subscription's channels.
func (b *Bus) feeds(s *Subscription, channels []brokers.Pattern) ([]*feed, error) {
	byBroker := make(map[string][]string)
	for _, name := range s.Brokers {
		if b.link(name) == nil {
			return nil, fmt.Errorf("there is no broker %q: name one of %s", name, listed(b.brokersOf(nil)))
		}
		byBroker[name] = s.Channels
	}
	if len(s.Brokers) == 0 {
		for _, p := range channels {
			on := b.router.BrokersOf(p)
			if len(on) == 0 {
				on = []string{b.links[0].name}
			}
			for _, name := range on {
				byBroker[name] = append(byBroker[name], p.String())
			}
		}
	}
	var feeds []*feed
	for _, l := range b.links {
		if channels := byBroker[l.name]; channels != nil {
			feeds = append(feeds, &feed{link: l, channels: channels, ready: make(chan struct{})})
		}
	}
	return feeds, nil
}

// check reports everything that is missing or contradictory.
func (s *Subscription) check() error {
	var errs []error
	if s.Name == "" {
		errs = append(errs, errors.New("there is no Name: logs and counters need one"))
	}
	switch {
	case s.BatchHandler != nil && (s.Handler != nil || len(s.Handlers) > 0):
		errs = append(errs, errors.New("a BatchHandler is set beside Handler or Handlers: choose one"))
	case s.BatchHandler != nil:
	case s.Handler == nil && len(s.Handlers) == 0:
		errs = append(errs, errors.New("there is no handler: set Handler, Handlers with bus.On, or BatchHandler"))
	case s.Handler != nil && len(s.Handlers) > 0:
		errs = append(errs, errors.New("both Handler and Handlers are set: choose one"))
	}
	if len(s.Channels)+len(s.Events)+len(s.Handlers) == 0 {
		errs = append(errs, errors.New("nothing is subscribed to: set Channels, Events, or Handlers with bus.On"))
	}
	if s.Concurrency < 0 || s.Prefetch < 0 {
		errs = append(errs, errors.New("a negative Concurrency or Prefetch cannot be meant"))
	}
	errs = append(errs, s.checkBatch(), s.Retry.Validate(), s.Stuck.check(s.Timeout), s.Rate.check(), s.Breaker.check())
	seen := make(map[string]bool)
	for _, h := range s.Handlers {
		if h.handle == nil {
			errs = append(errs, errors.New("a TypedHandler is empty: make it with bus.On"))
		} else if seen[h.eventType] {
			errs = append(errs, fmt.Errorf("two Handlers are for %s", h.eventType))
		}
		seen[h.eventType] = true
	}
	return errors.Join(errs...)
}

func (s *Subscription) setDefaults() {
	if s.Concurrency == 0 {
		s.Concurrency = DefaultConcurrency
	}
	if s.Prefetch == 0 {
		s.Prefetch = DefaultPrefetch
	}
	if s.BatchHandler != nil {
		s.Batch = s.Batch.orDefaults()
	}
	s.Prefetch = max(s.Prefetch, s.workers())
	if s.Priorities == 0 {
		s.Priorities = PrioritiesOn
	}
	if s.Timeout == 0 {
		s.Timeout = DefaultHandlerTimeout
	}
}

// wanted returns the patterns of the types wanted, none for every type. A typed handler for a type that Events leaves out
// would never run, and is refused.
func (s *Subscription) wanted() ([]brokers.Pattern, error) {
	types := s.Events
	if len(types) == 0 {
		for _, h := range s.Handlers {
			types = append(types, h.eventType)
		}
	}
	patterns, err := parsePatterns("Events", types)
	if err != nil {
		return nil, err
	}
	for _, h := range s.Handlers {
		if !matchesAny(patterns, h.eventType) {
			return nil, fmt.Errorf("the handler for %s would never run: Events leaves it out", h.eventType)
		}
	}
	return patterns, nil
}

func parsePatterns(field string, in []string) ([]brokers.Pattern, error) {
	out := make([]brokers.Pattern, len(in))
	for i, s := range in {
		p, err := brokers.ParsePattern(s)
		if err != nil {
			return nil, fmt.Errorf("%s[%d]: %w", field, i, err)
		}
		out[i] = p
	}
	return out, nil
}

func matchesAny(patterns []brokers.Pattern, name string) bool {
	for _, p := range patterns {
		if p.Match(name) {
			return true
		}
	}
	return false
}

// workers is how many events are on their way through the chain at once.
func (s *Subscription) workers() int {
	if s.BatchHandler != nil {
		return s.Concurrency * s.Batch.MaxEvents
	}
	return s.Concurrency
}
