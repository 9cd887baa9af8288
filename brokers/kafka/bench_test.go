package kafka_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	kafkago "github.com/segmentio/kafka-go"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/internal/testbroker"
)

// An event of the usual size, and how many go into one batch.
const (
	bodySize  = 392
	batchSize = 1000
)

// BenchmarkPublish compares Publish with the client's own Produce of the same batch to one partition, on a real broker.
func BenchmarkPublish(b *testing.B) {
	server := testbroker.StartKafka(b, testbroker.KafkaOptions{})
	body := bytes.Repeat([]byte("x"), bodySize)
	b.Run("driver", func(b *testing.B) {
		c, err := brokers.Open(b.Context(), server.URL()+"?partitions=1")
		if err != nil {
			b.Fatal(err)
		}
		defer c.Close(context.Background())
		msgs := make([]brokers.Message, batchSize)
		for i := range msgs {
			msgs[i] = brokers.Message{
				ID: fmt.Sprintf("id-%032d", i), Type: "user.registered", Channel: "driver", Key: fmt.Sprint("user:", i),
				Time: time.Now(), Body: body,
			}
		}
		b.ReportAllocs()
		for n := 0; n < b.N; n += batchSize {
			if err := c.Publish(b.Context(), msgs); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("client", func(b *testing.B) {
		client := rawClient(b, server, "client")
		recs := make([]kafkago.Record, batchSize)
		b.ReportAllocs()
		for n := 0; n < b.N; n += batchSize {
			for i := range recs {
				recs[i] = kafkago.Record{
					Key: kafkago.NewBytes([]byte(fmt.Sprint("user:", i))), Value: kafkago.NewBytes(body),
					Headers: []kafkago.Header{
						{Key: "eventbus-time", Value: []byte("1767323045000000000")},
						{Key: "eventbus-id", Value: []byte("id-00000000000000000000000000000000")},
						{Key: "eventbus-type", Value: []byte("user.registered")},
					},
				}
			}
			r, err := client.Produce(b.Context(), &kafkago.ProduceRequest{
				Topic: "client", RequiredAcks: kafkago.RequireAll, Records: kafkago.NewRecordReader(recs...),
			})
			if err = errors.Join(err, r.Error); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func rawClient(b *testing.B, server *testbroker.Kafka, topic string) *kafkago.Client {
	b.Helper()
	transport := &kafkago.Transport{}
	b.Cleanup(transport.CloseIdleConnections)
	client := &kafkago.Client{Addr: kafkago.TCP(server.Addr()), Timeout: 10 * time.Second, Transport: transport}
	if err := inject(b.Context(), server, topic, kafkago.Record{Value: kafkago.NewBytes([]byte("x"))}); err != nil {
		b.Fatal(err)
	}
	return client
}

// BenchmarkSubscribe compares a subscription that acks each batch with a loop of the client's own Fetch that reads keys and
// values and commits nothing.
func BenchmarkSubscribe(b *testing.B) {
	server := testbroker.StartKafka(b, testbroker.KafkaOptions{})
	c, err := brokers.Open(b.Context(), server.URL()+"?partitions=1")
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close(context.Background())
	const stored = 200_000
	msgs := make([]brokers.Message, batchSize)
	for i := range msgs {
		msgs[i] = brokers.Message{
			ID: fmt.Sprintf("id-%032d", i), Type: "user.registered", Channel: "stored", Key: fmt.Sprint("user:", i),
			Time: time.Now(), Body: bytes.Repeat([]byte("x"), bodySize),
		}
	}
	for range stored / batchSize {
		if err := c.Publish(b.Context(), msgs); err != nil {
			b.Fatal(err)
		}
	}
	group := 0
	b.Run("driver", func(b *testing.B) {
		b.ReportAllocs()
		for n := 0; n < b.N; n += stored {
			group++
			ctx, cancel := context.WithCancel(b.Context())
			s := &counter{want: min(stored, b.N-n), done: cancel}
			spec := brokers.Subscription{Channels: []string{"stored"}, Group: fmt.Sprint("g", group)}
			if err := c.Subscribe(ctx, spec, s); err != nil {
				b.Fatal(err)
			}
			cancel()
		}
	})
	b.Run("client", func(b *testing.B) {
		client := rawClient(b, server, "other")
		b.ReportAllocs()
		for n, offset := 0, int64(0); n < b.N; {
			r, err := client.Fetch(b.Context(), &kafkago.FetchRequest{
				Topic: "stored", Offset: offset % stored, MinBytes: 1, MaxBytes: 1 << 20, MaxWait: 500 * time.Millisecond,
			})
			if err = errors.Join(err, r.Error); err != nil {
				b.Fatal(err)
			}
			for {
				rec, err := r.Records.ReadRecord()
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					b.Fatal(err)
				}
				key, _ := kafkago.ReadAll(rec.Key)
				value, _ := kafkago.ReadAll(rec.Value)
				if len(key) == 0 || len(value) == 0 {
					b.Fatal("empty")
				}
				_, _ = rec.Key.Close(), rec.Value.Close()
				if rec.Offset >= offset%stored {
					n++
				}
				offset = rec.Offset + 1
			}
		}
	})
}

// A counter acks what it gets and ends the subscription after the wanted number.
type counter struct {
	got, want int
	done      context.CancelFunc
}

func (*counter) Ready()          {}
func (*counter) Gap(brokers.Gap) {}

func (s *counter) Deliver(batch []brokers.Delivery) {
	settlements := make([]brokers.Settlement, len(batch))
	for i := range batch {
		settlements[i].Token = batch[i].Token
	}
	_ = batch[0].Settler.Settle(context.Background(), settlements)
	if s.got += len(batch); s.got >= s.want {
		s.done()
	}
}
