package kafka_test

import (
	"context"
	"errors"
	"testing"
	"time"

	kafkago "github.com/segmentio/kafka-go"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/brokers/brokertest"
	_ "github.com/eventbus-go/eventbus/brokers/kafka"
	"github.com/eventbus-go/eventbus/internal/testbroker"
)

// quick are parameters for tests: several partitions, and members that learn of a rebalance soon.
const quick = "?partitions=3&heartbeat_interval=100ms&commit_interval=20ms&max_uncommitted=1000&metadata_ttl=1s" +
	"&session_timeout=6s"

func TestMain(m *testing.M) { brokertest.Main(context.Background(), m) }

func TestTheDriverKeepsItsPromisesOnAFake(t *testing.T) {
	server := testbroker.StartKafka(t, testbroker.KafkaOptions{InProcess: true})
	brokertest.Run(t, harness(t, server))
}

func TestTheDriverKeepsItsPromises(t *testing.T) {
	server := testbroker.StartKafka(t, testbroker.KafkaOptions{Proxy: true})
	h := harness(t, server)
	h.Kill, h.Restart = server.Kill, func() error { return server.Restart(context.Background()) }
	h.Freeze, h.Thaw, h.Cut = server.Freeze, server.Thaw, server.Cut
	h.Lease, h.Churn = 6*time.Second, 10*time.Second
	h.AcksKept = 1000 // max_uncommitted
	h.Consume = brokertest.Reexec(server.URL() + quick)
	h.Delete = map[string]func(channel, group string) error{
		"topic": func(channel, _ string) error { return deleteTopic(server, channel) },
	}
	brokertest.Run(t, h)
}

func harness(t *testing.T, server *testbroker.Kafka) brokertest.Harness {
	return brokertest.Harness{
		Open: func(ctx context.Context) (brokers.Conn, error) { return brokers.Open(ctx, server.URL()+quick) },
		Inject: func(channel string, body []byte) error {
			return inject(t.Context(), server, channel, kafkago.Record{Value: kafkago.NewBytes(body)})
		},
		Server:           brokertest.Server{Scheme: "kafka", Version: server.Version(), Real: server.Real()},
		Carries:          brokertest.AllFields,
		Patience:         90 * time.Second,
		IgnoreGoroutines: []string{"kfake", "testbroker", "TestTheDriverKeepsItsPromises"},
	}
}

func deleteTopic(server *testbroker.Kafka, topic string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	transport := &kafkago.Transport{}
	defer transport.CloseIdleConnections()
	client := &kafkago.Client{Addr: kafkago.TCP(server.Addr()), Transport: transport}
	deleted, err := client.DeleteTopics(ctx, &kafkago.DeleteTopicsRequest{Topics: []string{topic}})
	if err == nil {
		err = deleted.Errors[topic]
	}
	return err
}

// inject produces a record as a foreign client. A topic whose name Kafka does not allow cannot be had by anybody.
func inject(ctx context.Context, server *testbroker.Kafka, topic string, rec kafkago.Record) error {
	transport := &kafkago.Transport{}
	defer transport.CloseIdleConnections()
	client := &kafkago.Client{Addr: kafkago.TCP(server.Addr()), Timeout: 30 * time.Second, Transport: transport}
	created, err := client.CreateTopics(ctx, &kafkago.CreateTopicsRequest{
		Topics: []kafkago.TopicConfig{{Topic: topic, NumPartitions: 1, ReplicationFactor: 1}},
	})
	if err != nil {
		return err
	}
	if err := created.Errors[topic]; errors.Is(err, kafkago.InvalidTopic) {
		return nil
	} else if err != nil && !errors.Is(err, kafkago.TopicAlreadyExists) {
		return err
	}
	r, err := client.Produce(ctx, &kafkago.ProduceRequest{
		Topic: topic, RequiredAcks: kafkago.RequireAll, Records: kafkago.NewRecordReader(rec),
	})
	if err == nil {
		err = r.Error
	}
	return err
}
