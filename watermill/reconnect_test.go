package watermill_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
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
		return pub, lastHeld{sub}
	})
}

// lastHeld holds the last of the test's 10,000 messages for a second: the test looks at its list of what was published as soon
// as it has that message, which is before the publisher that waits for the broker's word has put it there.
type lastHeld struct{ message.Subscriber }

func (l lastHeld) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	in, err := l.Subscriber.Subscribe(ctx, topic)
	out := make(chan *message.Message)
	go func() {
		defer close(out)
		seen := make(map[string]bool)
		for msg := range in {
			if seen[msg.UUID] = true; len(seen) == 10_000 {
				<-time.After(time.Second)
			}
			out <- msg
		}
	}()
	return out, err
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
