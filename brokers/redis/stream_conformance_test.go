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
	h := streamHarness(t, server, "?lease=5s&read_timeout=5s&write_timeout=5s")
	h.Lease = 5 * time.Second
	h.Consume = brokertest.Reexec("redis+stream://" + server.Addr() + "?lease=5s&read_timeout=5s&write_timeout=5s")
	h.Delete = map[string]func(channel, group string) error{
		"stream": func(channel, _ string) error {
			_, err := server.Do(context.Background(), "DEL", streamOf(channel))
			return err
		},
		"group": func(channel, group string) error {
			_, err := server.Do(context.Background(), "XGROUP", "DESTROY", streamOf(channel), group)
			return err
		},
	}
	brokertest.Run(t, h)
}

func streamOf(channel string) string { return "eventbus:{" + channel + "}" }

// streamHarness reaches the server through a proxy, which can cut its connections.
func streamHarness(t *testing.T, server *testbroker.Redis, query string) brokertest.Harness {
	proxy := testbroker.StartProxy(t, server.Addr())
	h := brokertest.Harness{
		Open: func(ctx context.Context) (brokers.Conn, error) {
			return brokers.Open(ctx, "redis+stream://"+proxy.Addr()+query)
		},
		Server:  brokertest.Server{Scheme: "redis+stream", Version: server.Version(), Real: server.Real()},
		Carries: brokertest.AllFields,
		Inject: func(channel string, body []byte) error {
			field := "body"
			if strings.HasPrefix(string(body), "null") {
				field = "data"
			}
			_, err := server.Do(context.Background(), "XADD", streamOf(channel), "*", field, body)
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
		Patience:         30 * time.Second,
		IgnoreGoroutines: []string{"miniredis", "testbroker"},
	}
	if server.Real() {
		h.Freeze, h.Thaw = server.Freeze, server.Thaw
	}
	return h
}
