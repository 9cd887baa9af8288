package redis_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	goredis "github.com/redis/go-redis/v9"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/brokers/brokertest"
	_ "github.com/eventbus-go/eventbus/brokers/redis"
	"github.com/eventbus-go/eventbus/internal/drivertest"
	"github.com/eventbus-go/eventbus/internal/testbroker"
)

// logged is what go-redis wrote to its log, which is the program's stderr: a library of ours must not be the reason.
var logged lines

type lines struct {
	mu   sync.Mutex
	text []string
}

func (l *lines) Printf(_ context.Context, format string, v ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, fmt.Sprintf(format, v...))
}

func TestMain(m *testing.M) {
	brokertest.Child(context.Background())
	goredis.SetLogger(&logged)
	code := m.Run()
	for _, line := range logged.text {
		if strings.Contains(line, "failed to dial") {
			fmt.Println("FAIL: the client's log was written to: " + line)
			code = 1
			break
		}
	}
	os.Exit(code)
}

// What the drivers' tests share.
var (
	open       = drivertest.Open
	closeConn  = drivertest.Close
	eventually = drivertest.Eventually
	within     = drivertest.Within
	message    = drivertest.Message
	messages   = drivertest.Messages
	subscribe  = drivertest.Subscribe
)

// A recorder is a sink that keeps what it sees, in order, and settles nothing until SettleAll is called.
type recorder struct{ *drivertest.Recorder }

func newRecorder() *recorder {
	r := &recorder{drivertest.NewRecorder(context.Background())}
	r.SettleNothing()
	return r
}

func (r *recorder) deliveries() []brokers.Delivery { return r.Deliveries() }
func (r *recorder) gaps() []brokers.Gap            { return r.Gaps() }
func (r *recorder) has(body string) bool           { return r.Has(body) }

// inject publishes as a foreign client.
func inject(tb testing.TB, server *testbroker.Redis, channel string, body any) int64 {
	tb.Helper()
	n, err := server.Client().Publish(tb.Context(), channel, body).Result()
	if err != nil {
		tb.Fatal(err)
	}
	return n
}

// calls is how often the server has executed a command.
func calls(tb testing.TB, server *testbroker.Redis, command string) int {
	tb.Helper()
	stats, err := server.Client().Info(tb.Context(), "commandstats").Result()
	if err != nil {
		tb.Fatal(err)
	}
	for line := range strings.Lines(stats) {
		var n int
		if _, err := fmt.Sscanf(line, "cmdstat_"+command+":calls=%d,", &n); err == nil {
			return n
		}
	}
	return 0
}
