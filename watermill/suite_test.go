package watermill_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/tests"

	"github.com/eventbus-go/eventbus/brokers/memory"
	"github.com/eventbus-go/eventbus/internal/testbroker"
	"github.com/eventbus-go/eventbus/router/middleware"
	"github.com/eventbus-go/eventbus/watermill"

	_ "github.com/eventbus-go/eventbus/brokers/kafka"
	_ "github.com/eventbus-go/eventbus/brokers/nats"
	_ "github.com/eventbus-go/eventbus/brokers/rabbitmq"
	_ "github.com/eventbus-go/eventbus/brokers/redis"
)

// full says that Watermill's suite runs at its own size, and restarts servers that are slow to start.
var full = os.Getenv("EVENTBUS_FULL") == "1"

// A lab makes Publishers and Subscribers for Watermill's suite.
type lab struct {
	url string
	// grouped says that subscribers without a group of their own are in one, which is how the suite means its messages to be
	// kept for a subscriber that comes later.
	grouped bool
	// keyed orders by payload, which is what the suite compares the order of.
	keyed bool
}

func (l lab) make(t *testing.T, group string) (message.Publisher, message.Subscriber) {
	t.Helper()
	pc := watermill.PublisherConfig{}
	if l.keyed {
		pc.Key = func(_ string, msg *message.Message) string { return "k" + string(msg.Payload) }
	}
	pub, err := watermill.OpenPublisher(t.Context(), l.url, pc)
	if err != nil {
		t.Fatal(err)
	}
	sub, err := watermill.OpenSubscriber(t.Context(), l.url, watermill.SubscriberConfig{
		Group: group, Prefetch: 32, CloseTimeout: 200 * time.Millisecond,
		Redelivery: middleware.Backoff{Min: time.Millisecond, Max: 10 * time.Millisecond},
	})
	if err != nil {
		t.Fatal(err)
	}
	return pub, sub
}

func (l lab) pair(t *testing.T) (message.Publisher, message.Subscriber) {
	if l.grouped {
		return l.make(t, "suite")
	}
	return l.make(t, "")
}

func (l lab) run(t *testing.T, f tests.Features) {
	f.ForceShort = !full
	tests.TestPubSub(t, f, l.pair, l.make)
}

func TestTheSuitePassesOnMemory(t *testing.T) {
	keep := memory.New(memory.WithName(t.Name())) // the broker lives while tests open and close others
	t.Cleanup(func() { _ = keep.Close(t.Context()) })
	lab{url: "memory://" + t.Name(), grouped: true, keyed: true}.run(t, tests.Features{
		ConsumerGroups: true, GuaranteedOrder: true, Persistent: true,
	})
}

func TestTheSuitePassesOnJetStream(t *testing.T) {
	server := testbroker.AnyNATS(t, testbroker.NATSOptions{JetStream: true})
	lab{url: server.JetURL(), grouped: true}.run(t, tests.Features{
		ConsumerGroups: true, Persistent: true,
	})
}

func TestTheSuitePassesOnRedisStreams(t *testing.T) {
	server := testbroker.StartRedis(t, testbroker.RedisOptions{Args: stored})
	lab{url: streamURL(server), grouped: true}.run(t, tests.Features{
		ConsumerGroups: true, Persistent: true,
	})
}

// stored makes a redis-server keep what it confirmed when it is killed.
var stored = []string{"--appendonly", "yes", "--appendfsync", "always"}

func streamURL(server *testbroker.Redis) string {
	return "redis+stream" + strings.TrimPrefix(server.URL(), "redis")
}

func TestTheSuitePassesOnKafka(t *testing.T) {
	server := testbroker.StartKafka(t, testbroker.KafkaOptions{})
	lab{url: server.URL() + quickKafka, grouped: true, keyed: true}.run(t, tests.Features{
		ConsumerGroups: true, GuaranteedOrder: true, Persistent: true,
	})
}

// quickKafka are parameters for tests: members that learn of a rebalance soon, and wait briefly for those who hold messages.
const quickKafka = "?partitions=4&heartbeat_interval=200ms&commit_interval=20ms&metadata_ttl=1s&session_timeout=6s" +
	"&rebalance_timeout=1s"

func TestTheSuitePassesOnRabbitMQ(t *testing.T) {
	server := testbroker.StartRabbitMQ(t, testbroker.RabbitMQOptions{})
	lab{url: server.URL() + "?queue=classic", grouped: true}.run(t, tests.Features{ConsumerGroups: true, Persistent: true})
}

func TestTheSuitePassesOnRedisPubSub(t *testing.T) {
	server := testbroker.AnyRedis(t)
	lab{url: server.URL()}.atMostOnce(t, tests.Features{GuaranteedOrder: true})
}

func TestTheSuitePassesOnCoreNATS(t *testing.T) {
	server := testbroker.AnyNATS(t, testbroker.NATSOptions{})
	lab{url: server.URL()}.atMostOnce(t, tests.Features{GuaranteedOrder: true})
}

// atMostOnce runs what of the suite does not take for granted that a message is kept for a subscriber that comes later: those
// tests subscribe anew to what was published before. Where the suite publishes first, SubscribeInitialize has subscribed.
func (l lab) atMostOnce(t *testing.T, f tests.Features) {
	f.ForceShort, f.RequireSingleInstance = !full, true
	for name, run := range map[string]func(*testing.T, tests.TestContext, tests.PubSubConstructor){
		"TestPublishSubscribe":                  tests.TestPublishSubscribe,
		"TestConcurrentSubscribe":               tests.TestConcurrentSubscribe,
		"TestConcurrentSubscribeMultipleTopics": tests.TestConcurrentSubscribeMultipleTopics,
		"TestResendOnError":                     tests.TestResendOnError,
		"TestNoAck":                             tests.TestNoAck,
		"TestPublishSubscribeInOrder":           tests.TestPublishSubscribeInOrder,
		"TestPublisherClose":                    tests.TestPublisherClose,
		"TestTopic":                             tests.TestTopic,
		"TestMessageCtx":                        tests.TestMessageCtx,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run(t, tests.TestContext{TestID: tests.NewTestID(), Features: f}, l.pair)
		})
	}
}
