package watermill

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/router/middleware"
)

// Defaults of a SubscriberConfig.
const (
	DefaultPrefetch         = 128
	DefaultCloseTimeout     = 10 * time.Second
	DefaultSubscribeTimeout = 10 * time.Second
)

// A SubscriberConfig shapes a [Subscriber]. Its zero value is the default of everything.
type SubscriberConfig struct {
	// Group shares the messages of a topic among all subscribers that name the same group; empty means that each
	// Subscribe gets every message from then on. It needs a broker with consumer groups.
	Group string
	// GroupName is what the group of a topic is called on the broker. All members of one group of ours read the same channels,
	// while Watermill's groups are those of one topic each; so the default is group + "." + channel. A function that returns
	// its group joins the group of that name that a bus has.
	GroupName func(group, channel string) string
	// Start is where a new group begins: at the first retained message, unless brokers.StartNow.
	Start brokers.Start
	// Name identifies the subscriptions in the broker's own tools. Default "watermill".
	Name string
	// Channel turns a topic into the channel that is read; nil means that they are the same. On a broker that promises patterns
	// it may be a pattern.
	Channel func(topic string) string
	// InFlight is how many messages of one Subscribe may be handed out and not acked. The default, 1, is Watermill's own
	// rule and keeps the order of a topic where its broker does. With more, messages that have a key (MetadataKey) are
	// still handed out one after the other for each key.
	InFlight int
	// Prefetch is how many messages of one Subscribe are fetched and not settled. Default DefaultPrefetch, and never less
	// than InFlight.
	Prefetch int
	// Redelivery is the wait before a message that was nacked is handed out again: at least half of the ceiling that the
	// Backoff has for the attempt. A longer wait that Watermill's package delay has put into the message's metadata counts.
	// Where the broker keeps an order, the message stays here and holds up its key, or with InFlight 1 its topic; elsewhere
	// it goes back to the broker and holds up nothing.
	Redelivery middleware.Backoff
	// MaxAttempts is how often a message is handed out before it is given up: it is then told to Failed, and settled. The
	// default, 0, is Watermill's own rule: no limit.
	MaxAttempts int
	// MaxBytes is the largest body; a longer one fails. Default 0: no limit.
	MaxBytes int
	// CloseTimeout is how long messages that are handed out may take to be acked once the subscription ends. Until then
	// their contexts live. Default DefaultCloseTimeout.
	CloseTimeout time.Duration
	// SubscribeTimeout is how long Subscribe waits for the broker to confirm. After that it returns without an error, and the
	// subscription is still tried: a service starts while its broker is down. Default DefaultSubscribeTimeout.
	SubscribeTimeout time.Duration
	// Gap, if set, is told of each interval in which messages of a topic may have been missed.
	Gap func(topic string, g brokers.Gap)
	// Failed, if set, is told of each message that is given up, and settles it by returning nil. Where it returns an error, such
	// as that of the Publisher of dead letters, the message is kept, and comes again after a wait.
	Failed func(f Failure) error
	// Logger gets gaps, failures and broken connections, at a limited rate. Default slog.Default().
	Logger *slog.Logger
}

// A Failure is a message that was given up.
type Failure struct {
	Topic    string
	Message  *message.Message // of a body over MaxBytes, only the beginning
	Attempts int
	// Err is ErrAttempts, or a *MalformedError.
	Err error
}

// ErrAttempts is the error of a message that was nacked SubscriberConfig.MaxAttempts times.
var ErrAttempts = errors.New("watermill: the message was nacked as often as is allowed")

// A MalformedError says why an entry of the broker is no message.
type MalformedError struct {
	Reason brokers.Reason
	Size   int // of the body, in bytes
}

// Error names the reason and the size.
func (e *MalformedError) Error() string {
	return fmt.Sprintf("watermill: the entry is no message of ours: %s (%d bytes)", e.Reason, e.Size)
}

func (c *SubscriberConfig) setDefaults() {
	if c.Channel == nil {
		c.Channel = func(topic string) string { return topic }
	}
	if c.GroupName == nil {
		c.GroupName = func(group, channel string) string { return group + "." + channel }
	}
	if c.Name == "" {
		c.Name = "watermill"
	}
	c.InFlight = max(c.InFlight, 1)
	if c.Prefetch <= 0 {
		c.Prefetch = DefaultPrefetch
	}
	c.Prefetch = max(c.Prefetch, c.InFlight)
	if c.CloseTimeout <= 0 {
		c.CloseTimeout = DefaultCloseTimeout
	}
	if c.SubscribeTimeout <= 0 {
		c.SubscribeTimeout = DefaultSubscribeTimeout
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
}

// groupOf is the broker's group for a channel; empty for none.
func (c *SubscriberConfig) groupOf(channel string) string {
	if c.Group == "" {
		return ""
	}
	return c.GroupName(c.Group, channel)
}

// A Subscriber is a Watermill Subscriber that reads from one of our brokers. Its methods are safe for concurrent use.
type Subscriber struct {
	cfg  SubscriberConfig
	conn brokers.Conn
	owns bool
	caps brokers.Capabilities
	note noter

	life context.Context // ends when Close has given up
	end  context.CancelFunc

	mu      sync.Mutex
	closed  bool
	feeds   map[*feed]struct{}
	waiting map[string]*feed // initialized, and not subscribed to yet
	running sync.WaitGroup
	done    chan struct{} // closed when Close has done its work
	err     error         // before done
}

var (
	_ message.Subscriber           = (*Subscriber)(nil)
	_ message.SubscribeInitializer = (*Subscriber)(nil)
)

// OpenSubscriber opens the broker of a URL and returns a Subscriber that closes it. It does not wait for the broker. Of ctx
// only the values are used.
func OpenSubscriber(ctx context.Context, url string, cfg SubscriberConfig) (*Subscriber, error) {
	conn, err := brokers.Open(ctx, url)
	if err != nil {
		return nil, fmt.Errorf("watermill: subscriber: %w", err)
	}
	s, err := NewSubscriber(ctx, conn, cfg)
	if err != nil {
		return nil, errors.Join(err, conn.Close(ctx))
	}
	s.owns = true
	return s, nil
}

// NewSubscriber returns a Subscriber over a connection that the caller has opened, and that Close leaves open. Of ctx only the
// values are used. It refuses, with a *brokers.CapabilityError, a group on a broker that has none.
func NewSubscriber(ctx context.Context, conn brokers.Conn, cfg SubscriberConfig) (*Subscriber, error) {
	cfg.setDefaults()
	s := &Subscriber{
		cfg: cfg, conn: conn, caps: conn.Capabilities(),
		feeds: make(map[*feed]struct{}), waiting: make(map[string]*feed), done: make(chan struct{}),
	}
	if groups := func(c brokers.Capabilities) bool { return c.Groups }; cfg.Group != "" && !groups(s.caps) {
		return nil, fmt.Errorf("watermill: subscriber: %w", &brokers.CapabilityError{
			Subscription: cfg.Name, Needs: "consumer groups", Broker: "the given connection", Could: brokers.Promising(groups),
		})
	}
	s.life, s.end = context.WithCancel(context.WithoutCancel(ctx))
	s.note.ctx, s.note.log = s.life, cfg.Logger
	return s, nil
}

// Subscribe returns a channel with the messages of a topic. It is closed when ctx ends, when the Subscriber is closed, and where
// the broker refuses the subscription later on.
//
// A message's context has the values of ctx and is cancelled when the message is acked or nacked. It is not cancelled by the end
// of ctx or by Close: what is being handled then may finish, for SubscriberConfig.CloseTimeout. router.Attempt tells which
// attempt it is.
func (s *Subscriber) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	f, err := s.feed(topic, true)
	if err != nil {
		return nil, fmt.Errorf("watermill: subscribe to %q: %w", topic, err)
	}
	f.begin(ctx)
	if err := f.awaitReady(ctx); err != nil {
		return nil, fmt.Errorf("watermill: subscribe to %q: %w", topic, err)
	}
	return f.out, nil
}

// SubscribeInitialize makes sure that what is published to a topic from its return on is kept for the next Subscribe. Of a group it
// makes what the broker needs, such as a stream, a queue and the group itself. Without one, it subscribes at once, and the next
// Subscribe to the topic gets what has arrived.
func (s *Subscriber) SubscribeInitialize(topic string) error {
	if err := s.initialize(topic); err != nil {
		return fmt.Errorf("watermill: initialize %q: %w", topic, err)
	}
	return nil
}

func (s *Subscriber) initialize(topic string) error {
	ctx, cancel := context.WithTimeout(s.life, s.cfg.SubscribeTimeout)
	defer cancel()
	if p, ok := s.conn.(brokers.Provisioner); ok && s.cfg.Group != "" {
		channel := s.cfg.Channel(topic)
		if err := brokers.CheckChannel(channel); err != nil {
			return err
		}
		return p.Provision(ctx, brokers.Provision{Channels: []string{channel}, Groups: []brokers.GroupProvision{
			{Group: s.cfg.groupOf(channel), Channels: []string{channel}, Start: s.cfg.Start},
		}})
	}
	f, err := s.feed(topic, false)
	if err != nil {
		return err
	}
	if err := f.awaitReady(ctx); err != nil {
		return err
	}
	if s.cfg.Group != "" {
		f.cancel() // the group exists now, and keeps what is published
		<-f.done
	}
	// Whether it was confirmed counts, and nothing else: ctx may end right after that, or awaitReady's time before ctx does.
	if !isClosed(f.ready) {
		return cmp.Or(s.checkOpen(), context.DeadlineExceeded)
	}
	return nil
}

// checkOpen returns ErrClosed once Close was called.
func (s *Subscriber) checkOpen() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return brokers.ErrClosed
	}
	return nil
}

// feed returns a new feed of topic, or the one that was initialized before where it is to be taken.
func (s *Subscriber) feed(topic string, take bool) (*feed, error) {
	channel := s.cfg.Channel(topic)
	pattern, err := brokers.ParsePattern(channel)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, brokers.ErrClosed
	}
	f := s.waiting[topic]
	if f == nil {
		f = newFeed(s, topic, channel, !pattern.Literal())
		s.feeds[f] = struct{}{}
		s.running.Go(f.run)
		if !take && s.cfg.Group == "" {
			s.waiting[topic] = f
		}
	} else if take {
		delete(s.waiting, topic)
	}
	return f, nil
}

// gone forgets a feed that has ended.
func (s *Subscriber) gone(f *feed) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.feeds, f)
	if s.waiting[f.topic] == f {
		delete(s.waiting, f.topic)
	}
}

// Close ends all subscriptions: their channels are closed at once, what is handed out may finish for
// SubscriberConfig.CloseTimeout, what was not acked by then, or not handed out, goes back to the broker, and what OpenSubscriber
// opened is disconnected. A second Close waits for the first and returns what it returned.
func (s *Subscriber) Close() error {
	if s.beginClose() {
		s.err = s.close()
		close(s.done)
	}
	<-s.done
	return s.err
}

func (s *Subscriber) beginClose() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.closed = true
	for f := range s.feeds {
		f.cancel()
	}
	return true
}

func (s *Subscriber) close() error {
	ctx, cancel := context.WithTimeout(s.life, s.cfg.CloseTimeout+closeTimeout)
	defer cancel()
	defer s.end()
	quiet := make(chan struct{})
	go func() {
		defer close(quiet)
		s.running.Wait()
	}()
	var err error
	select {
	case <-quiet:
	case <-ctx.Done():
	}
	if !isClosed(quiet) {
		err = errors.New("the broker does not take what is given back: it will be delivered again when it takes us for dead")
	}
	if s.owns {
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
		defer cancel()
		err = errors.Join(err, s.conn.Close(last))
	}
	if err != nil {
		return fmt.Errorf("watermill: close subscriber: %w", err)
	}
	return nil
}
