package watermill_test

import (
	"context"
	"testing"
	"time"

	wm "github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill-redisstream/pkg/redisstream"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/gochannel"
	goredis "github.com/redis/go-redis/v9"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/brokers/brokertest"
	"github.com/eventbus-go/eventbus/brokers/memory"
	"github.com/eventbus-go/eventbus/internal/testbroker"
	"github.com/eventbus-go/eventbus/router/middleware"
	"github.com/eventbus-go/eventbus/watermill"
)

func TestAConnectionOverGoChannelKeepsTheContract(t *testing.T) {
	pubsub := gochannel.NewGoChannel(gochannel.Config{OutputChannelBuffer: 16}, wm.NopLogger{})
	t.Cleanup(func() { _ = pubsub.Close() })
	brokertest.Run(t, brokertest.Harness{
		Open: func(context.Context) (brokers.Conn, error) {
			return watermill.NewConn(watermill.ConnConfig{Publisher: pubsub, Subscriber: pubsub})
		},
		Carries: brokertest.AllFields,
		Inject: func(channel string, body []byte) error {
			return pubsub.Publish(channel, message.NewMessage("", body))
		},
		Backlog:          2000, // it keeps each message in a goroutine, and has no bound that more would reach
		IgnoreGoroutines: []string{"gochannel"},
	})
}

func TestAConnectionOverRedisStreamsKeepsItsPromises(t *testing.T) {
	if !full {
		t.Skip("only with EVENTBUS_FULL=1: the adapter's own timeouts take most of a minute")
	}
	server := testbroker.StartRedis(t, testbroker.RedisOptions{Args: stored})
	brokertest.Run(t, brokertest.Harness{
		Open:    func(context.Context) (brokers.Conn, error) { return redisStream(t, server.Addr()) },
		Carries: brokertest.AllFields,
		Kill:    server.Kill, Restart: func() error { return server.Restart(context.Background()) },
		Freeze: server.Freeze, Thaw: server.Thaw,
		ReadsAhead:       true, // two of each Subscriber, for as long as its MaxIdleTime
		Patience:         30 * time.Second,
		IgnoreGoroutines: []string{"redisstream", "go-redis"},
	})
}

// redisStream returns a connection over watermill-redisstream. Each of its parts closes the client that it was given, and so has
// one of its own. A subscription without a group has a group of its own, since reading without one begins anew, and misses
// what came meanwhile, with each read until the first message.
func redisStream(t *testing.T, addr string) (brokers.Conn, error) {
	client := func() goredis.UniversalClient {
		c := goredis.NewClient(&goredis.Options{Addr: addr, ContextTimeoutEnabled: true, MaxRetries: -1, Protocol: 2, PoolSize: 100})
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	pub, err := redisstream.NewPublisher(redisstream.PublisherConfig{Client: client()}, wm.NopLogger{})
	if err != nil {
		return nil, err
	}
	return watermill.NewConn(watermill.ConnConfig{
		Publisher: pub,
		Subscribers: func(_ context.Context, group string) (message.Subscriber, error) {
			oldest := "0"
			if group == "" {
				group, oldest = wm.NewShortUUID(), "$"
			}
			return redisstream.NewSubscriber(redisstream.SubscriberConfig{
				Client: client(), ConsumerGroup: group, Consumer: wm.NewShortUUID(), OldestId: oldest,
				BlockTime: 50 * time.Millisecond, ClaimInterval: 200 * time.Millisecond, MaxIdleTime: 6 * time.Second,
				NackResendSleep: redisstream.NoSleep,
			}, wm.NopLogger{})
		},
		Parallel: 12,
		Promises: brokers.Capabilities{Durable: true, Groups: true},
	})
}

// Both directions at once: a broker of ours as a Watermill Publisher and Subscriber, and those as a connection of ours.
func TestAConnectionThroughBothDirectionsKeepsItsPromises(t *testing.T) {
	keep := memory.New(memory.WithName(t.Name()))
	t.Cleanup(func() { _ = keep.Close(t.Context()) })
	url := "memory://" + t.Name()
	pub, err := watermill.OpenPublisher(t.Context(), url, watermill.PublisherConfig{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pub.Close() })
	// The suite has a priority of 3, which a Publisher refuses: here it travels as metadata like any other.
	move := func(from, to string) func(*message.Message) {
		return func(msg *message.Message) {
			if p, ok := msg.Metadata[from]; ok {
				msg.Metadata[to] = p
				delete(msg.Metadata, from)
			}
		}
	}
	decorated, _ := message.MessageTransformPublisherDecorator(move(watermill.MetadataPriority, "p"))(pub)
	brokertest.Run(t, brokertest.Harness{
		Open: func(context.Context) (brokers.Conn, error) {
			return watermill.NewConn(watermill.ConnConfig{
				Publisher: decorated,
				Subscribers: func(ctx context.Context, group string) (message.Subscriber, error) {
					sub, err := watermill.OpenSubscriber(ctx, url, watermill.SubscriberConfig{
						Group: group, InFlight: 64, CloseTimeout: 100 * time.Millisecond,
						GroupName:  func(group, _ string) string { return group },
						Redelivery: middleware.Backoff{Min: time.Millisecond, Max: 10 * time.Millisecond},
					})
					if err != nil {
						return nil, err
					}
					return message.MessageTransformSubscriberDecorator(move("p", watermill.MetadataPriority))(sub)
				},
				Promises: brokers.Capabilities{Groups: true, Order: brokers.OrderKey},
			})
		},
		Backlog: 2000,
		Carries: brokertest.AllFields,
		Inject: func(channel string, body []byte) error {
			return keep.Publish(t.Context(), []brokers.Message{{Channel: channel, Body: body}})
		},
	})
}
