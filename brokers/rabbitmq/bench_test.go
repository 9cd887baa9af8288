package rabbitmq_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/internal/testbroker"
)

const benchBatch = 256

// benchBody is as long as an event of the user service.
var benchBody = make([]byte, 392)

// benchQueue makes a queue that one channel of an exchange goes to and nobody reads, and that keeps a few messages only.
func benchQueue(b *testing.B, s *testbroker.RabbitMQ, kind string) (exchange, channel string) {
	b.Helper()
	exchange, channel = fmt.Sprintf("bench%d", time.Now().UnixNano()), "bench.a"
	c, ch, err := admin(s)
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	args := amqp.Table{amqp.QueueTypeArg: kind, amqp.QueueMaxLenArg: int64(10_000)}
	if _, err := ch.QueueDeclare(exchange, true, false, false, false, args); err != nil {
		b.Fatal(err)
	}
	if err := ch.ExchangeDeclare(exchange, "topic", true, false, false, false, nil); err != nil {
		b.Fatal(err)
	}
	if err := ch.QueueBind(exchange, channel, exchange, false, nil); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if c, ch, err := admin(s); err == nil {
			_, _ = ch.QueueDelete(exchange, false, false, false)
			_ = c.Close()
		}
	})
	return exchange, channel
}

// BenchmarkPublish compares the driver with a loop over the same client that publishes a batch with deferred confirms and waits for
// each, one batch after the other.
func BenchmarkPublish(b *testing.B) {
	for _, kind := range []string{"quorum", "classic"} {
		b.Run(kind+"/loop", func(b *testing.B) { benchLoop(b, kind) })
		b.Run(kind+"/driver", func(b *testing.B) { benchDriver(b, kind, 1) })
		b.Run(kind+"/driver, two lanes", func(b *testing.B) { benchDriver(b, kind, 2) })
	}
}

func benchLoop(b *testing.B, kind string) {
	s := server(b)
	exchange, channel := benchQueue(b, s, kind)
	c, ch, err := admin(s)
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	if err := ch.Confirm(false); err != nil {
		b.Fatal(err)
	}
	confirms := make([]*amqp.DeferredConfirmation, 0, benchBatch)
	b.ResetTimer()
	for n := 0; n < b.N; n += benchBatch {
		confirms = confirms[:0]
		for i := range benchBatch {
			confirm, err := ch.PublishWithDeferredConfirm(exchange, channel, true, false, amqp.Publishing{
				DeliveryMode: amqp.Persistent, MessageId: fmt.Sprint("id-", n+i), Type: "user.registered",
				Timestamp: time.Now(), Priority: 2, Headers: amqp.Table{"eb-key": "user:1"}, Body: benchBody,
			})
			if err != nil {
				b.Fatal(err)
			}
			confirms = append(confirms, confirm)
		}
		for _, confirm := range confirms {
			if ok, err := confirm.WaitContext(context.Background()); err != nil || !ok {
				b.Fatal(ok, err)
			}
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msgs/s")
}

func benchDriver(b *testing.B, kind string, lanes int) {
	s := server(b)
	exchange, channel := benchQueue(b, s, kind)
	c := open(b, "amqp://"+s.Addr()+"?exchange="+exchange)
	var next atomic.Int64
	failed := make(chan error, lanes)
	b.ResetTimer()
	for range lanes {
		go func() {
			batch := make([]brokers.Message, benchBatch)
			for next.Add(benchBatch) <= int64(b.N)+benchBatch {
				for i := range batch {
					batch[i] = brokers.Message{
						ID: fmt.Sprint("id-", i), Type: "user.registered", Channel: channel, Key: "user:1", Priority: 2,
						Time: time.Now(), Body: benchBody,
					}
				}
				ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
				err := c.Publish(ctx, batch)
				cancel()
				if err != nil {
					failed <- err
					return
				}
			}
			failed <- nil
		}()
	}
	for range lanes {
		if err := <-failed; err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msgs/s")
}

// BenchmarkConsume compares the driver with a loop over the same client that acks every 100 deliveries at once.
func BenchmarkConsume(b *testing.B) {
	b.Run("loop", benchConsumeLoop)
	b.Run("driver", benchConsumeDriver)
}

// benchFill publishes n messages for a group that exists.
func benchFill(b *testing.B, c brokers.Conn, n int) {
	b.Helper()
	for ; n > 0; n -= benchBatch {
		batch := make([]brokers.Message, min(n, benchBatch))
		for i := range batch {
			batch[i] = brokers.Message{ID: fmt.Sprint(n - i), Channel: "bench.a", Key: "k", Body: benchBody}
		}
		if err := c.Publish(b.Context(), batch); err != nil {
			b.Fatal(err)
		}
	}
}

func benchGroup(b *testing.B) (c brokers.Conn, queue string) {
	b.Helper()
	exchange := fmt.Sprintf("bench%d", time.Now().UnixNano())
	c = open(b, "amqp://"+server(b).Addr()+quick+"&exchange="+exchange)
	p := brokers.Provision{Groups: []brokers.GroupProvision{{Group: "g", Channels: []string{"bench.a"}}}}
	if err := c.(brokers.Provisioner).Provision(b.Context(), p); err != nil {
		b.Fatal(err)
	}
	benchFill(b, c, b.N)
	return c, exchange + ":g:bench.a"
}

func benchConsumeLoop(b *testing.B) {
	_, queue := benchGroup(b)
	c, ch, err := admin(server(b))
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	if err := ch.Qos(512, 0, false); err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	deliveries, err := ch.Consume(queue, "", false, false, false, false, nil)
	if err != nil {
		b.Fatal(err)
	}
	for n := 1; n <= b.N; n++ {
		d := <-deliveries
		if n%100 == 0 || n == b.N {
			if err := d.Ack(true); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msgs/s")
}

func benchConsumeDriver(b *testing.B) {
	c, _ := benchGroup(b)
	done := make(chan struct{})
	r := &acking{recorder: newRecorder(), left: b.N, done: done, work: make(chan []brokers.Settlement, 1024)}
	go r.settle()
	b.ResetTimer()
	subscribe(b, c, r, brokers.Subscription{Name: "bench", Group: "g", Channels: []string{"bench.a"}})
	<-done
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msgs/s")
}

// An acking acks what it gets from another goroutine, many at once, as the bus does.
type acking struct {
	*recorder
	left    int
	done    chan struct{}
	work    chan []brokers.Settlement
	settler brokers.Settler
}

func (r *acking) Deliver(batch []brokers.Delivery) {
	list := make([]brokers.Settlement, len(batch))
	for i, d := range batch {
		list[i].Token, r.settler = d.Token, d.Settler
	}
	r.work <- list
}

func (r *acking) settle() {
	for list := range r.work {
		for len(r.work) > 0 {
			list = append(list, <-r.work...)
		}
		if err := r.settler.Settle(context.Background(), list); err != nil {
			return
		}
		if r.left -= len(list); r.left <= 0 {
			close(r.done)
			return
		}
	}
}
