package rabbitmq_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/brokers/brokertest"
	_ "github.com/eventbus-go/eventbus/brokers/rabbitmq"
	"github.com/eventbus-go/eventbus/internal/testbroker"
)

// shared is one server for all tests of the package that leave it as it was: a start takes some 6 s.
var shared struct {
	sync.Mutex
	server *testbroker.RabbitMQ
	err    error
	began  bool
}

func TestMain(m *testing.M) {
	brokertest.Child(context.Background())
	code := m.Run()
	if shared.server != nil {
		if err := shared.server.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, "stop RabbitMQ:", err)
			code = 1
		}
	}
	os.Exit(code)
}

// server returns the shared server, which it starts for the first test that asks.
func server(tb testing.TB) *testbroker.RabbitMQ {
	tb.Helper()
	shared.Lock()
	defer shared.Unlock()
	if !shared.began {
		shared.began = true
		shared.server, shared.err = testbroker.StartRabbitMQServer(context.WithoutCancel(tb.Context()),
			testbroker.RabbitMQOptions{Users: true, TLS: true, Name: tb.Name()})
	}
	testbroker.NeedRabbitMQ(tb, shared.err)
	return shared.server
}

// calm is for tests whose queues need not survive the first second of their lives, and quick for those of them in which a connection
// dies silently. A busy machine may rest for so long that a connection is taken for dead, and everything comes twice.
const (
	calm  = "?heartbeat=20s&settle_time=1ms"
	quick = "?heartbeat=4s&settle_time=1ms"
)

func TestTheDriverKeepsItsPromisesOnQuorumQueues(t *testing.T) {
	brokertest.Run(t, harness(t, server(t), quick))
}

// The short form leaves out what takes long and is about this process rather than about the queue. That a classic queue keeps what
// it has confirmed is shown by the server's one death with nobody reading.
func TestTheDriverKeepsItsPromisesOnClassicQueues(t *testing.T) {
	h := harness(t, server(t), quick+"&queue=classic&exchange=other")
	left := named(t, "a broker that is killed twice under load loses nothing that it took", "a sink that blocks misses nothing silently",
		"Close returns by its deadline although the broker is gone", "a handler that takes many leases runs once")
	h.Short = func(c brokertest.Case) bool { return !left[c.Name] }
	brokertest.Run(t, h)
}

// The short form has what is different where one consumer gets everything: the order, and what becomes of it when that consumer
// goes, dies or fails.
func TestTheDriverKeepsItsPromisesWithOneActiveConsumer(t *testing.T) {
	h := harness(t, server(t), quick+"&single_active=true&exchange=single")
	different := named(t, "messages of one key arrive in the order in which they were published, across batches",
		"members of a group share the messages", "each group gets every message, and so does a subscription without one",
		"a message goes to no member while another has one of its key unsettled",
		"the members that stay get what comes after one has left", "settling for one group settles nothing for another",
		"a delivery that is asked for again comes again, unchanged", "what is acked or terminated never comes again",
		"what a member did not settle goes to the next one", "the attempt survives the consumer",
		"a durable subscription loses nothing to a lost connection",
		"what a consumer had that was killed is delivered again within its lease, and nothing is lost",
		"what is deleted under a running consumer heals, or the subscription fails loudly",
		"members that join and leave all the time lose nothing")
	h.Short = func(c brokertest.Case) bool { return different[c.Name] }
	brokertest.Run(t, h)
}

// named returns a set of cases, each of which there has to be.
func named(t *testing.T, names ...string) map[string]bool {
	set := make(map[string]bool)
	for _, name := range names {
		if !slices.ContainsFunc(brokertest.Cases(), func(c brokertest.Case) bool { return c.Name == name }) {
			t.Errorf("there is no case %q", name)
		}
		set[name] = true
	}
	return set
}

// harness reaches the server through a proxy, which can cut its connections.
func harness(t *testing.T, server *testbroker.RabbitMQ, query string) brokertest.Harness {
	proxy := testbroker.StartProxy(t, server.Addr())
	var opened atomic.Int64
	exchange := exchangeOf(query)
	return brokertest.Harness{
		Delete: map[string]func(channel, group string) error{
			"queue": func(channel, group string) error {
				return as(server, func(ch *amqp.Channel) error {
					_, err := ch.QueueDelete(exchange+":"+group+":"+channel, false, false, false)
					return err
				})
			},
			"exchange": func(string, string) error {
				return as(server, func(ch *amqp.Channel) error { return ch.ExchangeDelete(exchange, false, false) })
			},
		},
		Open: func(ctx context.Context) (brokers.Conn, error) {
			opened.Store(time.Now().UnixNano())
			return brokers.Open(ctx, "amqp://"+proxy.Addr()+query)
		},
		Server:  brokertest.Server{Scheme: "amqp", Version: server.Version(), Real: true},
		Lease:   2 * time.Second, // none: a dead consumer's connection ends at once, or by its heartbeat
		Consume: brokertest.Reexec("amqp://" + server.Addr() + query),
		Carries: brokertest.AllFields,
		Inject:  func(channel string, body []byte) error { return inject(server, exchange, channel, body) },
		Kill:    func() error { return killSettled(server, time.Unix(0, opened.Load())) },
		Restart: func() error {
			defer func() { opened.Store(time.Now().UnixNano()) }()
			return server.Restart(context.Background())
		},
		Freeze:           server.Freeze,
		Thaw:             server.Thaw,
		Cut:              func() error { return cut(proxy) },
		Backlog:          8 * 512,          // the server keeps what is over the default prefetch
		Patience:         60 * time.Second, // a busy machine takes its time to start the server
		IgnoreGoroutines: []string{"testbroker"},
	}
}

func exchangeOf(query string) string {
	if _, rest, ok := strings.Cut(query, "exchange="); ok {
		name, _, _ := strings.Cut(rest, "&")
		return name
	}
	return "eventbus"
}

func cut(p *testbroker.Proxy) error {
	if err := p.SetMode(testbroker.Reset); err != nil {
		return err
	}
	return p.SetMode(testbroker.Forward)
}

// admin is a connection of its own, as a foreign client has it.
func admin(server *testbroker.RabbitMQ) (*amqp.Connection, *amqp.Channel, error) {
	c, err := amqp.Dial(server.URL())
	if err != nil {
		return nil, nil, err
	}
	ch, err := c.Channel()
	return c, ch, err
}

// as does something as an administrator.
func as(server *testbroker.RabbitMQ, do func(*amqp.Channel) error) error {
	c, ch, err := admin(server)
	if err != nil {
		return err
	}
	defer c.Close()
	return do(ch)
}

// inject publishes as a foreign client, and returns once the server has taken it.
func inject(server *testbroker.RabbitMQ, exchange, key string, body []byte) error {
	c, ch, err := admin(server)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := ch.ExchangeDeclare(exchange, "topic", true, false, false, false, nil); err != nil {
		return err
	}
	if err := ch.Confirm(false); err != nil {
		return err
	}
	confirm, err := ch.PublishWithDeferredConfirm(exchange, key, false, false, amqp.Publishing{Body: body})
	if err != nil {
		return err
	}
	confirm.Wait()
	return nil
}

// killSettled kills the server once the queues that were made last have been written down: see settle_time. They are made
// when a connection was opened that subscribes. A server that has just begun is let be for as long: one that is killed while
// it still recovers from the kill before may not take anything when it is back.
func killSettled(server *testbroker.RabbitMQ, opened time.Time) error {
	<-time.After(time.Until(opened.Add(2 * time.Second)))
	return server.Kill()
}
