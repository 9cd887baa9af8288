package watermill_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill-redisstream/pkg/redisstream"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/brokers/brokertest"
	_ "github.com/eventbus-go/eventbus/brokers/redis/watermill"
	"github.com/eventbus-go/eventbus/internal/testbroker"
)

var always = testbroker.RedisOptions{Args: []string{"--appendonly", "yes", "--appendfsync", "always"}}

func TestTheDriverKeepsItsPromisesWithWatermillsEntries(t *testing.T) {
	server := testbroker.StartRedis(t, always)
	brokertest.Run(t, brokertest.Harness{
		Open: func(ctx context.Context) (brokers.Conn, error) {
			return brokers.Open(ctx, "redis+stream://"+server.Addr()+"?lease=5s&read_timeout=5s&write_timeout=5s&format=watermill")
		},
		Carries: brokertest.AllFields,
		Inject: func(channel string, body []byte) error {
			field := "payload" // which alone makes no message of Watermill's
			if strings.HasPrefix(string(body), "null") {
				field = "data"
			}
			_, err := server.Do(context.Background(), "XADD", channel, "*", field, body)
			return err
		},
		Kill:             server.Kill,
		Restart:          func() error { return server.Restart(context.Background()) },
		Patience:         30 * time.Second,
		IgnoreGoroutines: []string{"testbroker"},
	})
}

// A sink that hands over what it gets.
type sink struct {
	ready chan struct{}
	got   chan brokers.Delivery
}

func newSink() *sink            { return &sink{make(chan struct{}), make(chan brokers.Delivery, 16)} }
func (s *sink) Ready()          { close(s.ready) }
func (s *sink) Gap(brokers.Gap) {}
func (s *sink) Deliver(batch []brokers.Delivery) {
	for _, d := range batch {
		s.got <- d
	}
}

func TestAWatermillServiceIsAPeer(t *testing.T) {
	server := testbroker.StartRedis(t, testbroker.RedisOptions{})
	conn, err := brokers.Open(t.Context(), "redis+stream://"+server.Addr()+"?format=watermill")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	defer func() { _ = conn.Close(ctx) }()

	t.Run("what it publishes is delivered", func(t *testing.T) {
		pub, err := redisstream.NewPublisher(redisstream.PublisherConfig{Client: server.Client()}, watermill.NopLogger{})
		if err != nil {
			t.Fatal(err)
		}
		theirs := message.NewMessage("id-1", []byte(`{"a":1}`))
		theirs.Metadata = message.Metadata{"trace": "t", "b": "c"}
		if err := pub.Publish("orders.placed", theirs); err != nil {
			t.Fatal(err)
		}
		s := newSink()
		subCtx, end := context.WithCancel(ctx)
		done := make(chan error, 1)
		go func() {
			done <- conn.Subscribe(subCtx, brokers.Subscription{Name: "s", Group: "g", Channels: []string{"orders.*"}}, s)
		}()
		select {
		case d := <-s.got:
			if d.ID != "id-1" || string(d.Body) != `{"a":1}` || d.Channel != "orders.placed" || len(d.Headers) != 2 ||
				d.Headers[1] != (brokers.Header{Key: "trace", Value: "t"}) {
				t.Errorf("%+v", d)
			}
			if err := d.Settler.Settle(ctx, []brokers.Settlement{{Token: d.Token}}); err != nil {
				t.Error(err)
			}
		case <-ctx.Done():
			t.Error("nothing came")
		}
		end()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})

	t.Run("what we publish reaches it", func(t *testing.T) {
		sub, err := redisstream.NewSubscriber(
			redisstream.SubscriberConfig{Client: server.Client(), ConsumerGroup: "theirs"}, watermill.NopLogger{})
		if err != nil {
			t.Fatal(err)
		}
		defer sub.Close()
		subCtx, end := context.WithCancel(ctx)
		defer end()
		messages, err := sub.Subscribe(subCtx, "orders.sent")
		if err != nil {
			t.Fatal(err)
		}
		m := brokers.Message{
			ID: "id-2", Type: "order.sent", Channel: "orders.sent", Key: "order:1", Body: []byte(`{"b":2}`),
			Headers: []brokers.Header{{Key: "trace", Value: "t"}, {Key: "trace", Value: "u"}},
		}
		if err := conn.Publish(ctx, []brokers.Message{m}); err != nil {
			t.Fatal(err)
		}
		select {
		case got := <-messages:
			if got.UUID != "id-2" || string(got.Payload) != `{"b":2}` || got.Metadata["trace"] != "t" || got.Metadata["eventbus_key"] != "order:1" {
				t.Errorf("%+v", got)
			}
			got.Ack()
		case <-ctx.Done():
			t.Error("nothing came")
		}
	})
}
