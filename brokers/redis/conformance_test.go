package redis_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/brokers/brokertest"
	_ "github.com/eventbus-go/eventbus/brokers/redis"
	"github.com/eventbus-go/eventbus/internal/testbroker"
)

func TestTheDriverKeepsItsPromises(t *testing.T) {
	server := testbroker.AnyRedis(t)
	h := brokertest.Harness{
		Server: brokertest.Server{Scheme: "redis", Version: server.Version(), Real: server.Real()},
		Open: func(ctx context.Context) (brokers.Conn, error) {
			return brokers.Open(ctx, server.URL()+"?ping_interval=4s&read_timeout=5s&write_timeout=5s&buffer_messages=5000")
		},
		Inject: func(channel string, body []byte) error {
			return server.Client().Publish(t.Context(), channel, body).Err()
		},
		Kill:             server.Kill,
		Restart:          func() error { return server.Restart(context.Background()) },
		Patience:         30 * time.Second,
		IgnoreGoroutines: []string{"miniredis", "testbroker"},
	}
	if server.Real() {
		h.Freeze, h.Thaw = server.Freeze, server.Thaw
		h.Cut = func() error {
			_, err := server.Do(t.Context(), "CLIENT", "KILL", "TYPE", "pubsub")
			if err == nil {
				_, err = server.Do(t.Context(), "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
			}
			if err != nil && strings.Contains(err.Error(), "No such client") {
				err = nil
			}
			return err
		}
	}
	brokertest.Run(t, h)
}
