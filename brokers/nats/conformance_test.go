package nats_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/brokers/brokertest"
	_ "github.com/eventbus-go/eventbus/brokers/nats"
	"github.com/eventbus-go/eventbus/internal/testbroker"
)

func TestMain(m *testing.M) { brokertest.Main(context.Background(), m) }

func TestTheCoreDriverKeepsItsPromises(t *testing.T) {
	server := testbroker.AnyNATS(t, testbroker.NATSOptions{})
	h := harness(t, server, "nats://", "?ping_interval=4s&buffer_messages=5000")
	h.Carries = brokertest.Fields{Key: true, Headers: true}
	brokertest.Run(t, h)
}

func TestTheJetStreamDriverKeepsItsPromises(t *testing.T) {
	server := testbroker.AnyNATS(t, testbroker.NATSOptions{JetStream: true})
	h := harness(t, server, "nats+js://", "?ping_interval=4s&ack_wait=5s")
	h.Carries = brokertest.Fields{ID: true, Type: true, Key: true, Headers: true}
	h.Lease = 5 * time.Second
	h.AcksInMemory = time.Second // nats-server writes a consumer's state ten times a second, and later on a busy machine
	h.Consume = brokertest.Reexec(server.JetURL() + "?ack_wait=5s")
	h.Delete = map[string]func(channel, group string) error{
		"stream": func(channel, _ string) error {
			return manage(server, channel, func(ctx context.Context, js jetstream.JetStream, s jetstream.Stream) error {
				return js.DeleteStream(ctx, s.CachedInfo().Config.Name)
			})
		},
		"consumer": func(channel, _ string) error { return manage(server, channel, deleteConsumer(channel)) },
	}
	brokertest.Run(t, h)
}

// manage does something to a channel's stream, as an administrator.
func manage(
	server *testbroker.NATS, channel string, do func(context.Context, jetstream.JetStream, jetstream.Stream) error,
) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	nc, err := natsgo.Connect(server.URL())
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	name, err := js.StreamNameBySubject(ctx, channel)
	if err != nil {
		return err
	}
	s, err := js.Stream(ctx, name)
	if err != nil {
		return err
	}
	return do(ctx, js, s)
}

// deleteConsumer deletes what reads a channel: the case has one group on it.
func deleteConsumer(channel string) func(context.Context, jetstream.JetStream, jetstream.Stream) error {
	return func(ctx context.Context, _ jetstream.JetStream, s jetstream.Stream) error {
		list := s.ListConsumers(ctx)
		for c := range list.Info() {
			if c.Config.FilterSubject == channel || slices.Contains(c.Config.FilterSubjects, channel) {
				return s.DeleteConsumer(ctx, c.Name)
			}
		}
		return errors.Join(list.Err(), errors.New("no consumer reads "+channel))
	}
}

// harness reaches the server through a proxy, which can cut its connections.
func harness(t *testing.T, server *testbroker.NATS, scheme, query string) brokertest.Harness {
	proxy := testbroker.StartProxy(t, server.Addr())
	h := brokertest.Harness{
		Open: func(ctx context.Context) (brokers.Conn, error) {
			return brokers.Open(ctx, scheme+proxy.Addr()+query)
		},
		Server:           brokertest.Server{Scheme: strings.TrimSuffix(scheme, "://"), Version: server.Version(), Real: server.Real()},
		Inject:           func(channel string, body []byte) error { return inject(server, channel, body) },
		Kill:             server.Kill,
		Restart:          func() error { return server.Restart(context.Background()) },
		Cut:              func() error { return cut(proxy) },
		Patience:         30 * time.Second,
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
