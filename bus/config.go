package bus

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/eventbus-go/eventbus/router"
	"github.com/eventbus-go/eventbus/schema"
)

// Config is what a YAML file may hold; its zero value is the default of everything. Unknown keys are refused.
//
//	url: redis://localhost:6379       # ${NAME} is replaced from the environment
//	brokers:                          # further ones, by name; the one that url opens is called main
//	  audit:
//	    url: kafka://localhost:9092
//	    publish: { max_events: 8192 } # as below; what is left out is as below
//	broker: main                      # of rules and subscriptions that name none
//	source: user_service              # who publishes
//	prefix: user_service.events       # of the rules' channels
//	rules:                            # where events go; see router.ParseYAML
//	  - match: [user.*, preferences.*]
//	    channels: [user]
//	    broker: audit
//	    fallback: main                # while audit is unavailable
//	publish:
//	  lanes: 2
//	  max_events: 65536               # in a lane
//	  max_bytes: 33554432             # in a lane
//	  when_full: drop_lowest          # or drop_newest, block
//	  block_for: 10ms
//	  send_timeout: 1s                # of a batch
//	  fallback_after: 5s              # of failing, before a rule's fallback is used
//	  timeout: 10s                    # of Publish
//	max_event_bytes: 1048576
//	forbidden: [password, token]      # in metadata keys; replaces the default list
//	shutdown: 30s
//	dead_letters: sqlite:letters.db   # or redis://…, memory://, off; default: the same server for Redis, else memory
//	dedup: sqlite:handled.db          # or redis://…, memory://; default: the same server for Redis, else memory
//	subscriptions:                    # by their names; what is here replaces what the code says
//	  billing:
//	    retry: 5 times, 200ms to 10m, jitter     # see middleware.ParsePolicy
//	    errors: { timeout: "3 times, 1s", declined: never }    # by the names of WithError
//	    concurrency: 8
//	    prefetch: 1024
//	    timeout: 30s                  # of an attempt
//	    keep_order: true              # later events of a key wait behind one that is a dead letter
//	    dedup: 24h                    # how long a handled event is known; or off, or {window: 24h, lease: 1m, when_down: handle}
//	    rate: 100/s, burst 20         # or off
//	    breaker: 5 failures in 10s, pause 30s    # or off
//	    stuck: 30s, release key       # after its timeout a handler is given up; or never
//	ensure_channels: false            # create what is missing at the brokers, at the start
//
// The file eventbus.yaml at the root of the repository explains every key.
type Config struct {
	// URL chooses the broker, or the default one of several. Default [DefaultURL].
	URL string
	// Brokers are several brokers by name, for rules and subscriptions to name. Names are small letters, digits, _ and -.
	// The one that URL opens is among them, with or without settings here.
	Brokers map[string]BrokerConfig
	// Broker is the name of the default one, that of rules and subscriptions which name none. It is [DefaultBroker] where
	// it is empty, or the only one there is.
	Broker string
	// Source names the publishing service. It goes into events whose Source is empty. Default "user_service".
	Source string
	// Config is the prefix and the rules, whose default is router.Default.
	router.Config
	// Publish bounds the publishing side, of each broker by itself.
	Publish PublishConfig
	// MaxEventBytes bounds an encoded event, both ways. Default 1 MiB, which every broker takes.
	MaxEventBytes int
	// Forbidden are names that no metadata key may contain as a word. Default schema.DefaultForbidden; an empty list that
	// is not nil forbids nothing.
	Forbidden []string
	// Shutdown is how long handlers may take to finish after the end of Run's context. Default 30 s.
	Shutdown time.Duration
	// DeadLetters is the URL of the store of what subscriptions give up on: redis://host:6379 (brokers/redis), sqlite:path
	// (store/sqlite), or memory://, which is bounded and ends with the process; or NoDeadLetters. The default is the same
	// server where URL is one of Redis, and memory:// elsewhere. In a file, ${NAME} is replaced from the environment.
	DeadLetters string
	// Dedup is the URL of the store of handled events, for subscriptions whose Dedup has settings and no Store: redis://host:6379
	// (brokers/redis), sqlite:path (store/sqlite), or memory://. The default is the same server where URL is one of Redis, and
	// memory:// elsewhere. In a file, ${NAME} is replaced from the environment.
	Dedup string
	// Subscriptions has settings by the names of subscriptions. A name that the program does not have is refused by Run.
	Subscriptions map[string]SubscriptionConfig
	// EnsureChannels has Run and Start do what [Bus.EnsureChannels] does, before they subscribe.
	EnsureChannels bool
}

// PublishConfig bounds the publishing side.
type PublishConfig struct {
	LaneConfig
	// Timeout is how long Publish waits where its context has no deadline. Default 10 s.
	Timeout time.Duration
}

// LaneConfig shapes the lanes: the bounded queues between publishers and the broker. Events of one key share a lane.
type LaneConfig struct {
	// Lanes is how many there are. Default 2: while the replies to one lane's batch are awaited, the other's is written,
	// which is worth more than any batch size.
	Lanes int
	// MaxEvents bounds a lane in events. Default 65,536.
	MaxEvents int
	// MaxBytes bounds a lane in bytes of encoded events. Default 32 MiB.
	MaxBytes int
	// WhenFull is what Emit does when a lane is full. Default DropNewest. Publish always waits.
	WhenFull FullPolicy
	// BlockFor is how long Emit waits for room where WhenFull is Block, before it drops. Default 10 ms.
	BlockFor time.Duration
	// SendTimeout is how long one batch may take, and between three quarters of it and all of it is what it gets before its
	// outcome is unknown. Default 1 s.
	SendTimeout time.Duration
	// FallbackAfter is how long a broker has to fail every send before it is unavailable, so that the fallback of the rules
	// that name one is used. Default 5 s.
	FallbackAfter time.Duration
}

// FullPolicy is what Emit does when a lane is full.
type FullPolicy uint8

// DropNewest drops the event that does not fit. DropLowest makes room by dropping the oldest queued event of the lowest
// priority below that of the new one, if there is any, else it drops the new one. Block waits up to LaneConfig.BlockFor, and
// then drops the new one: the only policy by which a broker's trouble reaches the caller.
const (
	DropNewest FullPolicy = iota
	DropLowest
	Block
)

var policyNames = [...]string{DropNewest: "drop_newest", DropLowest: "drop_lowest", Block: "block"}

// String returns the policy as it stands in a configuration file.
func (p FullPolicy) String() string {
	if int(p) < len(policyNames) {
		return policyNames[p]
	}
	return fmt.Sprintf("FullPolicy(%d)", uint8(p))
}

// ParseFullPolicy is the inverse of [FullPolicy.String].
func ParseFullPolicy(s string) (FullPolicy, error) {
	for i, name := range policyNames {
		if s == name {
			return FullPolicy(i), nil
		}
	}
	return DropNewest, fmt.Errorf("when_full %q is unknown (%s)", s, strings.Join(policyNames[:], ", "))
}

func (c *Config) setDefaults() {
	setDefault(&c.Source, "user_service")
	setDefault(&c.MaxEventBytes, 1<<20)
	setDefault(&c.Shutdown, 30*time.Second)
	setDefault(&c.Publish.Timeout, 10*time.Second)
	l := &c.Publish.LaneConfig
	setDefault(&l.Lanes, 2)
	setDefault(&l.MaxEvents, 1<<16)
	setDefault(&l.MaxBytes, 32<<20)
	setDefault(&l.BlockFor, 10*time.Millisecond)
	setDefault(&l.SendTimeout, time.Second)
	setDefault(&l.FallbackAfter, 5*time.Second)
	if len(c.Rules) == 0 {
		prefix := c.Prefix
		c.Config = router.Default()
		if prefix != "" {
			c.Prefix = prefix
		}
	}
}

func setDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// check reports the first value that cannot be meant, once the defaults are set.
func (c *Config) check() error {
	return cmp.Or(
		inRange("max_event_bytes", c.MaxEventBytes, 256, 512<<20),
		c.Publish.LaneConfig.check("publish.", c.MaxEventBytes),
		inRange("publish.timeout", c.Publish.Timeout, time.Millisecond, time.Hour),
		inRange("shutdown", c.Shutdown, time.Millisecond, 24*time.Hour),
		c.checkSubscriptions(),
	)
}

// check is that of Config, of the settings below a key.
func (l *LaneConfig) check(below string, maxEventBytes int) error {
	return cmp.Or(
		inRange(below+"lanes", l.Lanes, 1, 64),
		inRange(below+"max_events", l.MaxEvents, 1, 1<<24),
		inRange(below+"max_bytes", l.MaxBytes, maxEventBytes, 1<<40),
		inRange(below+"when_full", l.WhenFull, DropNewest, Block),
		inRange(below+"block_for", l.BlockFor, time.Microsecond, time.Hour),
		inRange(below+"send_timeout", l.SendTimeout, time.Millisecond, time.Hour),
		inRange(below+"fallback_after", l.FallbackAfter, time.Millisecond, time.Hour),
	)
}

func inRange[T cmp.Ordered](setting string, got, low, high T) error {
	if got < low || got > high {
		return &ConfigError{setting, fmt.Sprintf("is %v: it goes from %v to %v", got, low, high)}
	}
	return nil
}

func (c *Config) forbidden() *schema.Forbidden {
	if c.Forbidden == nil {
		return schema.DefaultForbidden()
	}
	return schema.NewForbidden(c.Forbidden...)
}
