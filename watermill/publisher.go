package watermill

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/bus"
)

// DefaultTimeout is how long a Publish may take.
const DefaultTimeout = 10 * time.Second

// A PublisherConfig shapes a [Publisher]. Its zero value is the default of everything.
type PublisherConfig struct {
	// Channel turns a topic into the channel that is published to. Nil means that they are the same: a topic is then a name
	// as brokers.CheckChannel has it, and one that is none is refused.
	Channel func(topic string) string
	// Key says what messages are ordered by, on brokers that keep an order by key: on Kafka, it chooses the partition. Nil
	// means the metadata MetadataKey; where that or the function's result is empty, each message is a key of its own.
	Key func(topic string, msg *message.Message) string
	// Format says how a message lies on the broker. Default FormatAuto.
	Format Format
	// Timeout is how long one Publish may take, waiting for a broker that is down included. Default DefaultTimeout.
	Timeout time.Duration
	// SendTimeout is how long one batch may take before its outcome is unknown. Default 1 s.
	SendTimeout time.Duration
	// MaxBytes bounds a message on the broker. Default 1 MiB.
	MaxBytes int
	// Logger gets what is refused and dropped, at a limited rate. Default slog.Default().
	Logger *slog.Logger
}

// A Publisher is a Watermill Publisher that publishes to one of our brokers. Its methods are safe for concurrent use.
//
// What several goroutines publish at the same time shares batches. The messages of one Publish, and of successive ones, keep
// their order. A broker that is down is waited for, with backoff, until the Publish times out.
type Publisher struct {
	cfg    PublisherConfig
	packer packer
	bus    *bus.Bus
	base   context.Context // for Close, which Watermill gives none
	once   sync.Once
	err    error
}

var _ message.Publisher = (*Publisher)(nil)

// OpenPublisher opens the broker of a URL and returns a Publisher that closes it. It does not wait for the broker. Of ctx only
// the values are used.
func OpenPublisher(ctx context.Context, url string, cfg PublisherConfig) (*Publisher, error) {
	conn, err := brokers.Open(ctx, url)
	if err != nil {
		return nil, fmt.Errorf("watermill: publisher: %w", err)
	}
	return newPublisher(ctx, conn, cfg)
}

// NewPublisher returns a Publisher over a connection that the caller has opened, and that Close leaves open. Of ctx only the
// values are used.
func NewPublisher(ctx context.Context, conn brokers.Conn, cfg PublisherConfig) (*Publisher, error) {
	return newPublisher(ctx, borrowed{conn}, cfg)
}

func newPublisher(ctx context.Context, conn brokers.Conn, cfg PublisherConfig) (*Publisher, error) {
	if cfg.Channel == nil {
		cfg.Channel = func(topic string) string { return topic }
	}
	if cfg.Key == nil {
		cfg.Key = func(_ string, msg *message.Message) string { return msg.Metadata[MetadataKey] }
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = DefaultTimeout
	}
	var opts []bus.Option
	if cfg.Logger != nil {
		opts = append(opts, bus.WithLogger(cfg.Logger))
	}
	settings := bus.Config{MaxEventBytes: cfg.MaxBytes}
	settings.Publish.Lanes = 1 // Watermill knows no keys: the order is that of the calls
	settings.Publish.SendTimeout = cfg.SendTimeout
	b, err := bus.New(ctx, conn, settings, opts...)
	if err != nil {
		return nil, fmt.Errorf("watermill: publisher: %w", err)
	}
	caps := conn.Capabilities()
	p := &Publisher{cfg: cfg, bus: b, base: context.WithoutCancel(ctx)}
	p.packer = packer{format: cfg.Format.resolve(caps), fresh: caps.Dedup, delay: caps.Delay, key: cfg.Key}
	return p, nil
}

// Publish publishes messages to the channel of topic and returns once the broker has taken all of them. An error says which
// were not taken, as a *bus.PublishError, or that one is refused; in that case none was sent. The messages are not changed.
//
// Of the messages' contexts only the first one's values are used: a message whose context is over, such as one that a poison
// queue publishes after its handler timed out, is published like any other.
func (p *Publisher) Publish(topic string, messages ...*message.Message) error {
	if len(messages) == 0 {
		return nil
	}
	channel, now := p.cfg.Channel(topic), time.Now()
	msgs := make([]brokers.Message, len(messages))
	for i, msg := range messages {
		var err error
		if msgs[i], err = p.packer.pack(topic, channel, msg, now); err != nil {
			return fmt.Errorf("watermill: publish to %q: %w", topic, err)
		}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(messages[0].Context()), p.cfg.Timeout)
	defer cancel()
	if err := p.bus.Send(ctx, msgs); err != nil {
		return fmt.Errorf("watermill: publish to %q: %w", topic, err)
	}
	return nil
}

// closeTimeout is how long closing may take beside what its owner waits for.
const closeTimeout = 10 * time.Second

// Close waits for what is being published, 10 s at most, and disconnects what OpenPublisher opened. A second Close returns what
// the first one did.
func (p *Publisher) Close() error {
	p.once.Do(func() {
		ctx, cancel := context.WithTimeout(p.base, closeTimeout)
		defer cancel()
		if err := p.bus.Close(ctx); err != nil {
			p.err = fmt.Errorf("watermill: close publisher: %w", err)
		}
	})
	return p.err
}

// A borrowed connection is not ours to close.
type borrowed struct{ brokers.Conn }

func (borrowed) Close(context.Context) error { return nil }
