package watermill_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/tests"

	"github.com/eventbus-go/eventbus/internal/testbroker"
)

// These are Watermill's TestReconnect: 10,000 messages by 100 publishers, while the server is killed and restarted twice.

func TestASuiteOfMessagesSurvivesRestartsOfJetStream(t *testing.T) {
	if !withoutDetector(t) {
		return
	}
	server := testbroker.RealNATS(t, testbroker.NATSOptions{JetStream: true})
	lab{url: server.JetURL(), grouped: true}.reconnect(t, server)
}

func TestASuiteOfMessagesSurvivesRestartsOfRedisStreams(t *testing.T) {
	if !withoutDetector(t) {
		return
	}
	server := testbroker.StartRedis(t, testbroker.RedisOptions{Args: stored})
	lab{url: streamURL(server), grouped: true}.reconnect(t, server)
}

func TestASuiteOfMessagesSurvivesRestartsOfKafka(t *testing.T) {
	if !full {
		t.Skip("only with EVENTBUS_FULL=1: a Kafka takes several seconds to start")
	}
	if !withoutDetector(t) {
		return
	}
	server := testbroker.StartKafka(t, testbroker.KafkaOptions{})
	lab{url: server.URL() + quickKafka, grouped: true, keyed: true}.reconnect(t, server)
}

func TestASuiteOfMessagesSurvivesRestartsOfRabbitMQ(t *testing.T) {
	if !full {
		t.Skip("only with EVENTBUS_FULL=1: a RabbitMQ takes several seconds to start")
	}
	if !withoutDetector(t) {
		return
	}
	server := testbroker.StartRabbitMQ(t, testbroker.RabbitMQOptions{})
	lab{url: server.URL(), grouped: true}.reconnect(t, server)
}

func (l lab) reconnect(t *testing.T, server killable) {
	tests.TestReconnect(t, tests.TestContext{TestID: tests.NewTestID(), Features: tests.Features{
		ConsumerGroups: true, Persistent: true, RestartServiceCommand: restartCommand(t, server),
	}}, func(t *testing.T) (message.Publisher, message.Subscriber) {
		pub, sub := l.pair(t)
		all := make(chan struct{})
		return &counted{Publisher: pub, all: all}, lastHeld{sub, all}
	})
}

// reconnected is how many messages the test publishes.
const reconnected = 10_000

// counted tells when the broker has given its word for all messages.
type counted struct {
	message.Publisher
	n   atomic.Int64
	all chan struct{}
}

func (c *counted) Publish(topic string, msgs ...*message.Message) error {
	err := c.Publisher.Publish(topic, msgs...)
	if err == nil && c.n.Add(int64(len(msgs))) == reconnected {
		close(c.all)
	}
	return err
}

// lastHeld holds the last of the test's messages until all are published, and a second longer: the test looks at its list of what was
// published as soon as it has that message, which is before the publisher that waits for the broker's word has put it there.
type lastHeld struct {
	message.Subscriber
	all <-chan struct{}
}

func (l lastHeld) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	in, err := l.Subscriber.Subscribe(ctx, topic)
	out := make(chan *message.Message)
	go func() {
		defer close(out)
		seen := make(map[string]bool)
		for msg := range in {
			if again := seen[msg.UUID]; !again {
				seen[msg.UUID] = true
				if len(seen) == reconnected {
					l.await()
				}
			}
			out <- msg
		}
	}()
	return out, err
}

func (l lastHeld) await() {
	select {
	case <-l.all:
		<-time.After(time.Second) // in which a goroutine of the test's adds to a list
	case <-time.After(time.Minute):
	}
}

// SubscribeInitialize is what embedding the interface hides.
func (l lastHeld) SubscribeInitialize(topic string) error {
	return l.Subscriber.(message.SubscribeInitializer).SubscribeInitialize(topic)
}

// quietDetector makes the race detector of a program report nothing.
const quietDetector = "report_bugs=0"

// withoutDetector reports whether the test is to go on. Watermill's TestReconnect has a race of its own: it reads the list of
// what was published while another goroutine appends to it. So where the detector is linked in, the test runs in another
// process, whose detector reports nothing.
func withoutDetector(t *testing.T) bool {
	t.Helper()
	if !raceEnabled || os.Getenv("GORACE") == quietDetector {
		return true
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), "GORACE="+quietDetector)
	out, err := cmd.CombinedOutput()
	switch {
	case err != nil:
		t.Errorf("%v\n%s", err, out[max(0, len(out)-4000):])
	case bytes.Contains(out, []byte("--- SKIP")):
		t.Skip("needs a server that is not installed")
	}
	return false
}
