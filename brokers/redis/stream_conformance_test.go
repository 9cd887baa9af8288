package redis_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/brokers/brokertest"
	"github.com/eventbus-go/eventbus/internal/testbroker"
)

// always has the server write to its disk whatever it confirms. With everysec it may lose up to two seconds of it
// where the disk is slow, as documented at https://redis.io/docs/latest/operate/oss_and_stack/management/persistence.
var always = testbroker.RedisOptions{Args: []string{"--appendonly", "yes", "--appendfsync", "always"}}

func TestTheStreamDriverKeepsItsPromises(t *testing.T) {
	server := testbroker.StartRedis(t, always)
	brokertest.Run(t, streamHarness(t, server, "?lease=3s"))
}

// streamHarness reaches the server through a proxy, which can cut its connections.
func streamHarness(t *testing.T, server *testbroker.Redis, query string) brokertest.Harness {
	proxy := testbroker.StartProxy(t, server.Addr())
	h := brokertest.Harness{
		Open: func(ctx context.Context) (brokers.Conn, error) {
			return brokers.Open(ctx, "redis+stream://"+proxy.Addr()+query)
		},
		Carries: brokertest.AllFields,
		Inject: func(channel string, body []byte) error {
			field := "body"
			if strings.HasPrefix(string(body), "null") {
				field = "data"
			}
			_, err := server.Do(context.Background(), "XADD", "eventbus:{"+channel+"}", "*", field, body)
			return err
		},
		Kill:    server.Kill,
		Restart: func() error { return server.Restart(context.Background()) },
		Cut: func() error {
			if err := proxy.SetMode(testbroker.Reset); err != nil {
				return err
			}
			return proxy.SetMode(testbroker.Forward)
		},
		Patience:         15 * time.Second,
		IgnoreGoroutines: []string{"miniredis", "testbroker"},
	}
	if server.Real() {
		h.Freeze, h.Thaw = server.Freeze, server.Thaw
	}
	return h
}
