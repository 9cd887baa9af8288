package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kgo"

	_ "github.com/eventbus-go/eventbus/brokers/kafka" // kafka://
	"github.com/eventbus-go/eventbus/internal/testbroker"
	"github.com/eventbus-go/eventbus/schema"
)

// kafkaPartitions is how many partitions the topics have.
const kafkaPartitions = 4

// kafkaRows measure producing and consuming on Apache Kafka, a single node, with acks of all replicas.
func kafkaRows(ctx context.Context, l *lab) ([]row, error) {
	server, err := testbroker.StartKafkaServer(ctx, testbroker.KafkaOptions{
		Name: "bench", Properties: []string{fmt.Sprintf("num.partitions=%d", kafkaPartitions)},
	})
	if err != nil {
		return nil, err
	}
	defer server.Stop()
	bodies, err := bodies()
	if err != nil {
		return nil, err
	}
	k := &kafkaLab{lab: l, addr: server.Addr(), url: server.URL(), bodies: bodies}
	produced, err := l.inTurns(ctx,
		side{"Emit to Kafka", l.emitTo(k.url, routeTo(oneChannel))},
		side{"kafka-go Writer", k.write(true)},
		side{"kafka-go Writer, key and body alone", k.write(false)},
		side{"franz-go", k.franzProduce},
	)
	if err != nil {
		return nil, err
	}
	consumed, err := l.inTurns(ctx,
		side{"Kafka to handler", l.stored(250_000, fillOurs(k.url), readOurs(k.url))},
		side{"kafka-go Reader, a commit each second", l.stored(250_000, fillOurs(k.url), k.read)},
		side{"franz-go group", l.stored(250_000, fillOurs(k.url), k.franzRead)},
	)
	if err != nil {
		return nil, err
	}
	pub, sub := compare(produced[0], produced[1], rateOf), compare(consumed[0], consumed[1], rateOf)
	return []row{
		row{what: "Emit to Kafka, 1 channel, one caller", got: medians(produced[0]), ratios: pub, base: "kafka-go"}.
			need("0.9 × kafka-go", pub.mid >= 0.9),
		baseRow("  kafka-go: Writer, acks all, hash, batches of 1000, the same headers, encoded before", produced[1]),
		baseRow("  the same without headers", produced[2]),
		baseRow("  franz-go, acks all, idempotent, the same headers, encoded before", produced[3]),
		row{what: "Kafka to handler, committed, data as bytes", got: medians(consumed[0]), ratios: sub, base: "kafka-go"}.
			need("0.9 × kafka-go", sub.mid >= 0.9),
		baseRow("  kafka-go: Reader, a commit each second, nothing decoded", consumed[1]),
		baseRow("  franz-go: group, auto commit, nothing decoded", consumed[2]),
	}, nil
}

// A kafkaLab is what the sides of Kafka share.
type kafkaLab struct {
	*lab
	addr, url string
	bodies    [][]byte
}

// kafkaBatch is what one call of WriteMessages is given: a full batch for each partition.
const kafkaBatch = 1000 * kafkaPartitions

// write is kafka-go's Writer at its best: WriteMessages with batches for every partition, a second call under way while
// the first waits, acks of all replicas as ours asks for, and the partition by the key. With headers it sends what ours sends.
func (k *kafkaLab) write(headers bool) func(context.Context) (sample, error) {
	return func(ctx context.Context) (sample, error) {
		w := &kafkago.Writer{
			Addr: kafkago.TCP(k.addr), Topic: oneChannel, Balancer: kafkago.Murmur2Balancer{}, RequiredAcks: kafkago.RequireAll,
			BatchSize: 1000, BatchBytes: 4 << 20, BatchTimeout: 5 * time.Millisecond, Transport: &kafkago.Transport{},
		}
		defer w.Close()
		defer w.Transport.(*kafkago.Transport).CloseIdleConnections()
		ready := make([]kafkago.Message, len(k.bodies))
		for i, body := range k.bodies {
			if ready[i] = (kafkago.Message{Key: []byte(keyOf(i)), Value: body}); headers {
				for _, h := range beside() {
					ready[i].Headers = append(ready[i].Headers, kafkago.Header{Key: h[0], Value: []byte(h[1])})
				}
			}
		}
		const callers = 2
		results := make(chan error, callers)
		for range callers {
			results <- nil
		}
		next := 0
		n, start, err := sustain(k.run, func() (int, error) {
			if err := <-results; err != nil {
				return 0, err
			}
			msgs := make([]kafkago.Message, kafkaBatch)
			for i := range msgs {
				msgs[i] = ready[next]
				next = (next + 1) % len(ready)
			}
			go func() { results <- w.WriteMessages(ctx, msgs...) }()
			return len(msgs), nil
		})
		for range callers {
			err = errors.Join(err, <-results)
		}
		return rateSample(n, since(start)), err
	}
}

// beside are the headers of ours.
func beside() [][2]string {
	return [][2]string{
		{"eventbus-time", eventNanos}, {"eventbus-id", schema.NewID()}, {"eventbus-type", eventType}, {"eventbus-priority", "1"},
	}
}

// franzProduce shows what another client costs.
func (k *kafkaLab) franzProduce(ctx context.Context) (sample, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(k.addr), kgo.DefaultProduceTopic(oneChannel), kgo.ProducerLinger(0))
	if err != nil {
		return sample{}, err
	}
	defer client.Close()
	var failed error
	headers := make([][]kgo.RecordHeader, len(k.bodies))
	for i := range headers {
		for _, h := range beside() {
			headers[i] = append(headers[i], kgo.RecordHeader{Key: h[0], Value: []byte(h[1])})
		}
	}
	next := 0
	n, start, err := sustain(k.run, func() (int, error) {
		for range stride {
			rec := &kgo.Record{Key: []byte(keyOf(next)), Value: k.bodies[next], Headers: headers[next]}
			client.Produce(ctx, rec, func(_ *kgo.Record, err error) {
				if err != nil {
					failed = err // promises run one at a time
				}
			})
			next = (next + 1) % len(k.bodies)
		}
		return stride, nil
	})
	err = errors.Join(err, client.Flush(ctx))
	return rateSample(n, since(start)), errors.Join(err, failed)
}

// read is kafka-go's Reader in a group, which fetches ahead and commits each second.
func (k *kafkaLab) read(ctx context.Context, topic string, t *timeline) (func() error, error) {
	r := kafkago.NewReader(kafkago.ReaderConfig{
		Brokers: []string{k.addr}, GroupID: "kafka-go-" + topic, Topic: topic, StartOffset: kafkago.FirstOffset,
		MinBytes: 1, MaxBytes: 4 << 20, MaxWait: 500 * time.Millisecond, QueueCapacity: 4096, CommitInterval: time.Second,
		JoinGroupBackoff: 100 * time.Millisecond,
	})
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() {
		for {
			m, err := r.FetchMessage(ctx)
			if err == nil {
				err = r.CommitMessages(ctx, m)
			}
			if err != nil {
				ended <- err
				return
			}
			t.handled()
		}
	}()
	return func() error {
		cancel()
		<-ended
		return r.Close()
	}, nil
}

// franzRead shows what another client costs.
func (k *kafkaLab) franzRead(ctx context.Context, topic string, t *timeline) (func() error, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(k.addr), kgo.ConsumerGroup("franz-"+topic), kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.AutoCommitInterval(time.Second))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			client.PollFetches(ctx).EachRecord(func(*kgo.Record) { t.handled() })
		}
	}()
	return func() error {
		cancel()
		<-ended
		client.Close()
		return nil
	}, nil
}
