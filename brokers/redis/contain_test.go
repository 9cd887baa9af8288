package redis

import (
	"context"
	"errors"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/internal/testbroker"
)

// A fragile format panics with an entry of one body: on the goroutine that reads.
type fragile struct{}

func init() { RegisterFormat("fragile", fragile{}) }

func (fragile) Fields(m *brokers.Message) ([]Field, error) {
	return []Field{{fieldBody, string(m.Body)}}, nil
}

func (fragile) Read(m *brokers.Message, fields []Field) error {
	if fields[0].Value == "odd" {
		panic("an odd entry")
	}
	m.Body = []byte(fields[0].Value)
	return nil
}

func (fragile) Key(channel string) string         { return "fragile:" + channel }
func (fragile) Channel(key string) (string, bool) { return "", false }

// Suppose a format, a client library or we ourselves panic on a goroutine of the driver's: the process has other subscriptions.
func TestAPanicOfAReaderEndsItsSubscriptionAlone(t *testing.T) {
	t.Parallel()
	server := testbroker.RealRedis(t)
	c := openedStream(t, "redis+stream://"+server.Addr()+"?format=fragile&lease=500ms")
	other := subscribed(t, c, brokers.Subscription{Name: "other", Group: "g", Channels: []string{"other.a"}})
	sub, sink := brokers.Subscription{Name: "s", Group: "g", Channels: []string{"odd.a"}}, newSinkFor()
	ended := make(chan error, 1)
	go func() { ended <- c.Subscribe(context.Background(), sub, sink) }()
	await1(t, "the subscription is ready", sink.ready)
	if err := c.Publish(t.Context(), []brokers.Message{{Channel: "odd.a", Body: []byte("odd")}}); err != nil {
		t.Fatal(err)
	}
	panicked(t, await1(t, "the subscription ends", ended), c)
	server.Client().XTrimMaxLen(t.Context(), "fragile:odd.a", 0)
	again := subscribed(t, c, sub)
	msgs := []brokers.Message{{Channel: "odd.a", Body: []byte("good")}, {Channel: "other.a", Body: []byte("good")}}
	if err := c.Publish(t.Context(), msgs); err != nil {
		t.Fatal(err)
	}
	await1(t, "the subscription goes on when it is made again", again.got)
	await1(t, "the other one has gone on", other.got)
}

// panicked fails unless err is a panic that may be tried again.
func panicked(t *testing.T, err error, c brokers.Conn) {
	t.Helper()
	if p := new(brokers.PanicError); !errors.As(err, &p) || !c.Retryable(err) {
		t.Errorf("the error is %v", err)
	}
}

// A brittle client panics with each command.
type brittle struct{}

func (brittle) DialHook(next goredis.DialHook) goredis.DialHook { return next }
func (brittle) ProcessHook(goredis.ProcessHook) goredis.ProcessHook {
	return func(context.Context, goredis.Cmder) error { panic("a brittle client") }
}
func (brittle) ProcessPipelineHook(goredis.ProcessPipelineHook) goredis.ProcessPipelineHook {
	return func(context.Context, []goredis.Cmder) error { panic("a brittle client") }
}

func TestAPanicOfTheClientIsTheCallsError(t *testing.T) {
	client := goredis.NewClient(&goredis.Options{Addr: "127.0.0.1:1"})
	client.AddHook(brittle{})
	c := New(client)
	defer func() { _ = c.Close(context.Background()) }()
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour) // so that it is a goroutine of the driver's that calls the client
	defer cancel()
	panicked(t, c.(brokers.Pinger).Ping(ctx), c)
	failed := new(brokers.BatchError)
	err := c.Publish(ctx, []brokers.Message{{Channel: "a.b", Body: []byte("x")}})
	if !errors.As(err, &failed) || len(failed.Failed) != 1 || failed.Failed[0].Outcome == brokers.Confirmed {
		t.Fatalf("Publish: %v", err)
	}
	panicked(t, failed.Failed[0].Err, c)
}

// The keeper and the steward have nobody who waits for them.
func TestAPanicOfAGoroutineThatNobodyWaitsForIsTold(t *testing.T) {
	server := testbroker.AnyRedis(t)
	c := openedStream(t, "redis+stream://"+server.Addr())
	c.tend("streams", func() { panic("odd") })
	if !warns(c, "streams are not looked after: the driver panicked: odd") {
		t.Errorf("warnings: %q", c.Warnings())
	}
	c.tend("streams", func() {})
	if warns(c, "looked after") {
		t.Errorf("it is over, and the warnings are %q", c.Warnings())
	}
	told := make(chan error, 1)
	s := newSteward(t.Context(), &member{conn: c, sources: []*source{nil}}, func(err error) { told <- err })
	defer s.stop()
	panicked(t, await1(t, "the steward's panic is told", told), c)
}
