package memory_test

import (
	"bytes"
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/brokers/memory"
)

// An acker counts and acks what it gets, in the batches in which it comes.
type acker struct {
	ready chan struct{}
	seen  atomic.Int64
	want  int64
	done  chan struct{}
	list  []brokers.Settlement
}

func (a *acker) Ready()          { close(a.ready) }
func (a *acker) Gap(brokers.Gap) {}
func (a *acker) Deliver(batch []brokers.Delivery) {
	a.list = a.list[:0]
	for i := range batch {
		a.list = append(a.list, brokers.Settlement{Token: batch[i].Token})
	}
	_ = batch[0].Settler.Settle(context.Background(), a.list)
	if a.seen.Add(int64(len(batch))) == a.want {
		close(a.done)
	}
}

// BenchmarkPublishToSink is the driver's share of an event's way: published in batches, delivered and acked. One
// operation is one message of 392 bytes.
func BenchmarkPublishToSink(b *testing.B) {
	for _, batch := range []int{1, 64, 256} {
		for _, group := range []string{"", "g"} {
			b.Run(fmt.Sprintf("batch=%d/group=%q", batch, group), func(b *testing.B) { publishToSink(b, batch, group) })
		}
	}
}

func publishToSink(b *testing.B, size int, group string) {
	conn := memory.New()
	defer conn.Close(context.Background())
	a := &acker{ready: make(chan struct{}), done: make(chan struct{}), want: int64(b.N)}
	ctx := b.Context()
	go conn.Subscribe(ctx, brokers.Subscription{Name: "bench", Channels: []string{"a.b"}, Group: group}, a)
	<-a.ready
	msgs := make([]brokers.Message, size)
	for i := range msgs {
		msgs[i] = brokers.Message{
			ID: "0190b8a5-0000-7000-8000-000000000000", Type: "role.assigned", Channel: "a.b", Key: fmt.Sprint("user:", i),
			Body: bytes.Repeat([]byte{'x'}, 392),
		}
	}
	b.ReportAllocs()
	b.ResetTimer()
	for n := b.N; n > 0; n -= size {
		if err := conn.Publish(ctx, msgs[:min(size, n)]); err != nil {
			b.Fatal(err)
		}
	}
	<-a.done
}
