package nats_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/brokers/brokertest"
	_ "github.com/eventbus-go/eventbus/brokers/nats"
	"github.com/eventbus-go/eventbus/internal/testbroker"
)

func TestTheCoreDriverKeepsItsPromises(t *testing.T) {
	server := testbroker.AnyNATS(t, testbroker.NATSOptions{})
	h := harness(t, server, "nats://", "?ping_interval=1s&buffer_messages=5000")
	h.Carries = brokertest.Fields{Key: true, Headers: true}
	brokertest.Run(t, h)
}

func TestTheJetStreamDriverKeepsItsPromises(t *testing.T) {
	server := testbroker.AnyNATS(t, testbroker.NATSOptions{JetStream: true})
	h := harness(t, server, "nats+js://", "?ping_interval=1s&ack_wait=3s")
	h.Carries = brokertest.Fields{ID: true, Type: true, Key: true, Headers: true}
	brokertest.Run(t, h)
}

// harness reaches the server through a proxy, which can cut its connections.
func harness(t *testing.T, server *testbroker.NATS, scheme, query string) brokertest.Harness {
	proxy := testbroker.StartProxy(t, server.Addr())
	h := brokertest.Harness{
		Open: func(ctx context.Context) (brokers.Conn, error) {
			return brokers.Open(ctx, scheme+proxy.Addr()+query)
		},
		Inject:           func(channel string, body []byte) error { return inject(server, channel, body) },
		Kill:             server.Kill,
		Restart:          func() error { return server.Restart(context.Background()) },
		Cut:              func() error { return cut(proxy) },
		Patience:         15 * time.Second,
		IgnoreGoroutines: []string{"nats-server", "testbroker", "server.(*"},
	}
	if server.Real() {
		h.Freeze, h.Thaw = server.Freeze, server.Thaw
	}
	return h
}

func cut(p *testbroker.Proxy) error {
	if err := p.SetMode(testbroker.Reset); err != nil {
		return err
	}
	return p.SetMode(testbroker.Forward)
}

// inject publishes as a foreign client. What NATS itself cannot carry, such as a subject with a space, nobody can publish.
func inject(server *testbroker.NATS, channel string, body []byte) error {
	if slices.Contains(strings.Split(channel, "."), "") || strings.ContainsAny(channel, " \x00\r\n\t*>") {
		return nil
	}
	nc, err := natsgo.Connect("nats://"+server.Addr(), natsgo.NoReconnect())
	if err != nil {
		return err
	}
	defer nc.Close()
	if err := nc.Publish(channel, body); err != nil {
		return err
	}
	return nc.Flush()
}
