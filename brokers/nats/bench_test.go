package nats_test

import (
	"context"
	"fmt"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/internal/testbroker"
)

// Each pair is a ratio within one run: what this package adds to the client library on the same server.
const benchBatch = 1024

var benchBody = make([]byte, 392)

func benchMessages(n int, prefix string, ids *int) []brokers.Message {
	out := make([]brokers.Message, n)
	for i := range out {
		*ids++
		out[i] = brokers.Message{
			ID: "0197-" + strconv.Itoa(*ids), Type: "role.assigned", Key: "user:123", KeyInBody: true, Priority: 1,
			Channel: fmt.Sprintf("%s.c%d", prefix, i%3), Body: benchBody,
		}
	}
	return out
}

func BenchmarkCorePublish(b *testing.B) {
	server := testbroker.AnyNATS(b, testbroker.NATSOptions{})
	b.Run("raw", func(b *testing.B) {
		nc, err := natsgo.Connect(server.URL())
		if err != nil {
			b.Fatal(err)
		}
		defer nc.Close()
		subjects := []string{"bench.c0", "bench.c1", "bench.c2"}
		b.ReportAllocs()
		for i := range b.N {
			if err := nc.Publish(subjects[i%3], benchBody); err != nil {
				b.Fatal(err)
			}
		}
		_ = nc.Flush()
	})
	for _, headers := range []string{"needed", "all"} {
		b.Run("driver/headers="+headers, func(b *testing.B) {
			c := open(b, server.URL()+"?headers="+headers)
			ids := 0
			msgs := benchMessages(benchBatch, "bench", &ids)
			publishAll(b, c, func(int) []brokers.Message { return msgs })
		})
	}
}

// publishAll publishes b.N messages by two goroutines, as a bus with two lanes does.
func publishAll(b *testing.B, c brokers.Conn, batch func(lane int) []brokers.Message) {
	b.ReportAllocs()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var left atomic.Int64
	left.Store(int64(b.N))
	errs := make(chan error, 2)
	for lane := range 2 {
		go func() {
			for {
				n := left.Add(-benchBatch) + benchBatch
				if n <= 0 {
					errs <- nil
					return
				}
				if err := c.Publish(ctx, batch(lane)[:min(n, benchBatch)]); err != nil {
					errs <- err
					return
				}
			}
		}()
	}
	for range 2 {
		if err := <-errs; err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkJetPublish(b *testing.B) {
	server := jetServer(b)
	js := admin(b, server)
	if _, err := js.CreateStream(b.Context(), jetstream.StreamConfig{Name: "B", Subjects: []string{"bench.>"}}); err != nil {
		b.Fatal(err)
	}
	// With ids is what the driver does: it costs the server a header to store and an id to remember.
	for _, name := range []string{"raw", "raw with ids"} {
		b.Run(name, func(b *testing.B) { publishAsync(b, server, name != "raw") })
	}
	b.Run("driver", func(b *testing.B) {
		c := open(b, server.JetURL())
		start := int(time.Now().UnixNano())
		ids := [2]int{start, start + 1<<40}
		publishAll(b, c, func(lane int) []brokers.Message { return benchMessages(benchBatch, "bench", &ids[lane]) })
	})
}

func publishAsync(b *testing.B, server *testbroker.NATS, ids bool) {
	nc, err := natsgo.Connect(server.URL())
	if err != nil {
		b.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(4096))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for i := range b.N {
		subject := "bench.c" + strconv.Itoa(i%3)
		var opts []jetstream.PublishOpt
		if ids {
			rawIDs++
			opts = append(opts, jetstream.WithMsgID("raw-"+strconv.Itoa(rawIDs)+"|"+subject))
		}
		if _, err := js.PublishAsync(subject, benchBody, opts...); err != nil {
			b.Fatal(err)
		}
	}
	<-js.PublishAsyncComplete()
}

var rawIDs int // as rounds of a benchmark must not repeat them

func BenchmarkJetConsume(b *testing.B) {
	server := jetServer(b)
	js := admin(b, server)
	stream, err := js.CreateStream(b.Context(), jetstream.StreamConfig{Name: "B", Subjects: []string{"bench.>"}})
	if err != nil {
		b.Fatal(err)
	}
	fill := func(b *testing.B) {
		if err := stream.Purge(b.Context()); err != nil {
			b.Fatal(err)
		}
		c := open(b, server.JetURL())
		ids := int(time.Now().UnixNano())
		for left := b.N; left > 0; left -= benchBatch {
			if err := c.Publish(b.Context(), benchMessages(min(left, benchBatch), "bench", &ids)); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportAllocs()
		b.ResetTimer()
	}
	// The durable one is what a group has: the server writes down what it has acked.
	for _, name := range []string{"raw", "raw durable"} {
		b.Run(name, func(b *testing.B) {
			fill(b)
			config := jetstream.ConsumerConfig{AckPolicy: jetstream.AckExplicitPolicy}
			if name != "raw" {
				config.Durable, config.FilterSubject = "d"+strconv.Itoa(b.N), "bench.>"
			}
			consume(b, stream, config)
		})
	}
	b.Run("driver", func(b *testing.B) {
		fill(b)
		c := open(b, server.JetURL())
		sink := &counter{want: b.N, ready: make(chan struct{}), done: make(chan struct{})}
		ctx, cancel := context.WithCancel(b.Context())
		ended := make(chan error, 1)
		go func() {
			ended <- c.Subscribe(ctx, brokers.Subscription{
				Name: "s", Group: "g" + strconv.Itoa(b.N), Channels: []string{"bench.>"}, Prefetch: 1024, // as the bus does
			}, sink)
		}()
		<-sink.done
		b.StopTimer()
		cancel()
		if err := <-ended; err != nil {
			b.Fatal(err)
		}
	})
}

// consume takes b.N messages by the client's Consume and acks each.
func consume(b *testing.B, stream jetstream.Stream, config jetstream.ConsumerConfig) {
	consumer, err := stream.CreateConsumer(b.Context(), config)
	if err != nil {
		b.Fatal(err)
	}
	var n atomic.Int64
	done := make(chan struct{})
	consuming, err := consumer.Consume(func(m jetstream.Msg) {
		_ = m.Ack()
		if n.Add(1) == int64(b.N) {
			close(done)
		}
	})
	if err != nil {
		b.Fatal(err)
	}
	<-done
	consuming.Stop()
}

// A counter acks what it gets.
type counter struct {
	want        int
	ready, done chan struct{}
	list        []brokers.Settlement
}

func (c *counter) Ready()          { close(c.ready) }
func (c *counter) Gap(brokers.Gap) {}
func (c *counter) Deliver(batch []brokers.Delivery) {
	c.list = c.list[:0]
	for _, d := range batch {
		c.list = append(c.list, brokers.Settlement{Token: d.Token})
	}
	_ = batch[0].Settler.Settle(context.Background(), c.list)
	if c.want -= len(batch); c.want == 0 {
		close(c.done)
	}
}
