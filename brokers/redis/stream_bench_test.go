package redis_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/internal/testbroker"
)

// benchStore stores as most servers do that store at all.
var benchStore = testbroker.RedisOptions{Args: []string{"--appendonly", "yes", "--appendfsync", "everysec"}}

func streamURL(server *testbroker.Redis) string { return "redis+stream://" + server.Addr() }

func benchMessage(i int) brokers.Message {
	return brokers.Message{
		ID: fmt.Sprintf("0198c5a0-0000-7000-8000-%012d", i), Type: "user.updated", Channel: benchChannel, Key: "user:123",
		Time: time.Unix(1_700_000_000, 0), Body: benchBody,
	}
}

// BenchmarkStreamPublish compares Publish with pipelines of XADD written by hand over one connection, of the body
// alone, and with go-redis as most people use it. One operation is one message.
func BenchmarkStreamPublish(b *testing.B) {
	for _, batch := range []int{1, 64, 512} {
		b.Run(fmt.Sprintf("driver/%d", batch), func(b *testing.B) {
			c := open(b, streamURL(testbroker.StartRedis(b, benchStore)))
			msgs := make([]brokers.Message, batch)
			for i := range msgs {
				msgs[i] = benchMessage(i)
			}
			ctx, cancel := context.WithCancel(b.Context())
			defer cancel()
			b.ReportAllocs()
			b.ResetTimer()
			for n := 0; n < b.N; n += batch {
				if err := c.Publish(ctx, msgs); err != nil {
					b.Fatal(err)
				}
			}
			perSecond(b)
		})
		b.Run(fmt.Sprintf("raw/%d", batch), func(b *testing.B) {
			nc, err := net.Dial("tcp", testbroker.StartRedis(b, benchStore).Addr())
			if err != nil {
				b.Fatal(err)
			}
			defer nc.Close()
			r := bufio.NewReaderSize(nc, 32<<10)
			var buf []byte
			b.ReportAllocs()
			b.ResetTimer()
			for n := 0; n < b.N; n += batch {
				buf = buf[:0]
				for range batch {
					buf = appendXAdd(buf, benchChannel, benchBody)
				}
				if _, err := nc.Write(buf); err != nil {
					b.Fatal(err)
				}
				for range 2 * batch {
					if _, err := r.ReadSlice('\n'); err != nil {
						b.Fatal(err)
					}
				}
			}
			perSecond(b)
		})
		b.Run(fmt.Sprintf("go-redis/%d", batch), func(b *testing.B) {
			client := testbroker.StartRedis(b, benchStore).Client()
			b.ReportAllocs()
			for n := 0; n < b.N; n += batch {
				pipe := client.Pipeline()
				for range batch {
					pipe.XAdd(b.Context(), &goredis.XAddArgs{Stream: benchChannel, Values: []any{"body", benchBody}})
				}
				if _, err := pipe.Exec(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
			perSecond(b)
		})
	}
}

func appendXAdd(b []byte, stream string, body []byte) []byte {
	b = append(b, "*5\r\n$4\r\nxadd\r\n$"...)
	b = strconv.AppendInt(b, int64(len(stream)), 10)
	b = append(b, "\r\n"...)
	b = append(b, stream...)
	b = append(b, "\r\n$1\r\n*\r\n$4\r\nbody\r\n$"...)
	b = strconv.AppendInt(b, int64(len(body)), 10)
	b = append(b, "\r\n"...)
	b = append(b, body...)
	return append(b, "\r\n"...)
}

// ackingSink settles each batch at once, from a goroutine of its own as the bus does.
type ackingSink struct {
	ready  chan struct{}
	settle chan []brokers.Settlement
	by     atomic.Value
	done   chan struct{}
}

func newAckingSink(b *testing.B, target int64) *ackingSink {
	s := &ackingSink{ready: make(chan struct{}), settle: make(chan []brokers.Settlement, 64), done: make(chan struct{})}
	go func() {
		var n int64
		for list := range s.settle {
			for more := true; more && len(list) < 1000; {
				select {
				case next := <-s.settle:
					list = append(list, next...)
				default:
					more = false
				}
			}
			if err := s.by.Load().(brokers.Settler).Settle(b.Context(), list); err != nil {
				b.Error(err)
			}
			if n += int64(len(list)); n >= target {
				close(s.done)
				return
			}
		}
	}()
	return s
}

func (s *ackingSink) Ready()          { close(s.ready) }
func (s *ackingSink) Gap(brokers.Gap) {}
func (s *ackingSink) Deliver(batch []brokers.Delivery) {
	list := make([]brokers.Settlement, len(batch))
	for i := range batch {
		list[i].Token = batch[i].Token
	}
	s.by.Store(batch[0].Settler)
	s.settle <- list
}

// BenchmarkStreamConsume measures what a member of a group receives and settles, next to the loop that go-redis
// suggests: XREADGROUP with COUNT, one XACK for what it brought, and nothing done with it.
func BenchmarkStreamConsume(b *testing.B) {
	b.Run("driver", func(b *testing.B) {
		server := testbroker.StartRedis(b, benchStore)
		c := open(b, streamURL(server))
		fill(b, c, b.N)
		sink := newAckingSink(b, int64(b.N))
		ctx, cancel := context.WithCancel(b.Context())
		b.ReportAllocs()
		b.ResetTimer()
		done := make(chan error, 1)
		go func() {
			done <- c.Subscribe(ctx, brokers.Subscription{Name: "bench", Group: "g", Channels: []string{benchChannel}}, sink)
		}()
		<-sink.done
		b.StopTimer()
		perSecond(b)
		cancel()
		<-done
	})
	for _, count := range []int64{100, 512} {
		b.Run(fmt.Sprintf("go-redis/%d", count), func(b *testing.B) {
			server := testbroker.StartRedis(b, benchStore)
			fill(b, open(b, streamURL(server)), b.N)
			client, key := server.Client(), "eventbus:{"+benchChannel+"}"
			if err := client.XGroupCreate(b.Context(), key, "g", "0").Err(); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			b.ResetTimer()
			for n := 0; n < b.N; {
				list, err := client.XReadGroup(b.Context(), &goredis.XReadGroupArgs{
					Group: "g", Consumer: "c", Streams: []string{key, ">"}, Count: count, Block: time.Second,
				}).Result()
				if err != nil {
					b.Fatal(err)
				}
				ids := make([]string, 0, count)
				for _, m := range list[0].Messages {
					ids = append(ids, m.ID)
				}
				if err := client.XAck(b.Context(), key, "g", ids...).Err(); err != nil {
					b.Fatal(err)
				}
				n += len(ids)
			}
			perSecond(b)
		})
	}
}

// fill publishes n messages.
func fill(b *testing.B, c brokers.Conn, n int) {
	b.Helper()
	for sent := 0; sent < n; {
		msgs := make([]brokers.Message, min(512, n-sent))
		for i := range msgs {
			msgs[i] = benchMessage(sent + i)
		}
		if err := c.Publish(b.Context(), msgs); err != nil {
			b.Fatal(err)
		}
		sent += len(msgs)
	}
}
