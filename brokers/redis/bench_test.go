package redis_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/internal/testbroker"
)

// benchBody has the size of an event of the user service.
var benchBody = make([]byte, 392)

const benchChannel = "user_service.events.all"

// BenchmarkPublish compares Publish with pipelines written by hand over one connection, and with go-redis as most
// people use it. One operation is one message; nobody subscribes.
func BenchmarkPublish(b *testing.B) {
	server := testbroker.RealRedis(b)
	for _, batch := range []int{1, 64, 256, 512, 1024, 4096} {
		b.Run(fmt.Sprintf("driver/%d", batch), func(b *testing.B) {
			c := open(b, server.URL())
			msgs := make([]brokers.Message, batch)
			for i := range msgs {
				msgs[i] = brokers.Message{Channel: benchChannel, Body: benchBody}
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
			nc, err := net.Dial("tcp", server.Addr())
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
					buf = appendPublish(buf, benchChannel, benchBody)
				}
				if _, err := nc.Write(buf); err != nil {
					b.Fatal(err)
				}
				for range batch {
					if _, err := r.ReadSlice('\n'); err != nil {
						b.Fatal(err)
					}
				}
			}
			perSecond(b)
		})
		b.Run(fmt.Sprintf("go-redis/%d", batch), func(b *testing.B) {
			b.ReportAllocs()
			ctx := b.Context()
			for n := 0; n < b.N; n += batch {
				pipe := server.Client().Pipeline()
				for range batch {
					pipe.Publish(ctx, benchChannel, benchBody)
				}
				if _, err := pipe.Exec(ctx); err != nil {
					b.Fatal(err)
				}
			}
			perSecond(b)
		})
	}
}

func appendPublish(b []byte, channel string, body []byte) []byte {
	b = append(b, "*3\r\n$7\r\npublish\r\n$"...)
	b = strconv.AppendInt(b, int64(len(channel)), 10)
	b = append(b, "\r\n"...)
	b = append(b, channel...)
	b = append(b, "\r\n$"...)
	b = strconv.AppendInt(b, int64(len(body)), 10)
	b = append(b, "\r\n"...)
	b = append(b, body...)
	return append(b, "\r\n"...)
}

func perSecond(b *testing.B) {
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
}

// countingSink counts and does nothing else.
type countingSink struct {
	ready  chan struct{}
	got    atomic.Int64
	missed atomic.Int64
}

func (s *countingSink) Ready() { close(s.ready) }
func (s *countingSink) Gap(g brokers.Gap) {
	s.missed.Add(max(g.Missed, 1))
}
func (s *countingSink) Deliver(batch []brokers.Delivery) { s.got.Add(int64(len(batch))) }

// BenchmarkReceive sends from connections written by hand and measures what a subscription receives, next to a raw
// connection that only counts bytes and to go-redis's own ReceiveMessage. It never has more than window messages on
// their way, so that the server does not cut a slow receiver off.
func BenchmarkReceive(b *testing.B) {
	server := testbroker.RealRedis(b)
	b.Run("driver", func(b *testing.B) {
		c := open(b, server.URL())
		sink := &countingSink{ready: make(chan struct{})}
		ctx, cancel := context.WithCancel(b.Context())
		done := make(chan error, 1)
		go func() {
			done <- c.Subscribe(ctx, brokers.Subscription{Name: "bench", Channels: []string{benchChannel}}, sink)
		}()
		<-sink.ready
		feed(b, server, func() int64 { return sink.got.Load() + sink.missed.Load() })
		b.ReportMetric(float64(sink.missed.Load()), "missed")
		cancel()
		<-done
	})
	b.Run("go-redis", func(b *testing.B) {
		ps := server.Client().Subscribe(b.Context(), benchChannel)
		defer ps.Close()
		if _, err := ps.Receive(b.Context()); err != nil {
			b.Fatal(err)
		}
		var got atomic.Int64
		go func() {
			for {
				if _, err := ps.ReceiveMessage(b.Context()); err != nil {
					return
				}
				got.Add(1)
			}
		}()
		feed(b, server, got.Load)
	})
	b.Run("raw", func(b *testing.B) {
		nc, err := net.Dial("tcp", server.Addr())
		if err != nil {
			b.Fatal(err)
		}
		defer nc.Close()
		fmt.Fprintf(nc, "SUBSCRIBE %s\r\n", benchChannel)
		r := bufio.NewReaderSize(nc, 32<<10)
		for range 6 {
			if _, err := r.ReadSlice('\n'); err != nil {
				b.Fatal(err)
			}
		}
		size := len("*3\r\n$7\r\nmessage\r\n$23\r\n"+benchChannel+"\r\n$392\r\n") + len(benchBody) + 2
		var got atomic.Int64
		go func() {
			for {
				if _, err := r.Discard(size); err != nil {
					return
				}
				got.Add(1)
			}
		}()
		feed(b, server, got.Load)
	})
}

// feed publishes b.N messages and waits until received has counted them.
func feed(b *testing.B, server *testbroker.Redis, received func() int64) {
	const window = 20_000
	nc, err := net.Dial("tcp", server.Addr())
	if err != nil {
		b.Fatal(err)
	}
	defer nc.Close()
	go func() { _, _ = io.Copy(io.Discard, nc) }()
	var buf []byte
	for range 256 {
		buf = appendPublish(buf, benchChannel, benchBody)
	}
	one := len(buf) / 256
	b.ReportAllocs()
	b.ResetTimer()
	for sent := 0; sent < b.N; {
		n := min(256, b.N-sent)
		if _, err := nc.Write(buf[:n*one]); err != nil {
			b.Fatal(err)
		}
		sent += n
		for int64(sent)-received() > window {
			time.Sleep(50 * time.Microsecond)
		}
	}
	for received() < int64(b.N) {
		time.Sleep(50 * time.Microsecond)
	}
	b.StopTimer()
	perSecond(b)
}

var _ = goredis.Nil
