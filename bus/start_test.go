package bus_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/brokers/memory"
	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/schema"
)

func TestStartReturnsWhenEverySubscriptionReceivesAndCloseEndsIt(t *testing.T) {
	w := newWorld(t)
	got := make(chan string, 1)
	w.subscribe(bus.Subscription{Name: "s", Channels: []string{"x.all"}, Handler: func(_ context.Context, e schema.Event) error {
		got <- e.Subject
		return nil
	}})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	if err := w.Start(ctx); err != nil {
		t.Fatal(err)
	}
	cancel() // its end does not stop what was started
	w.emit(event("a.b", "user:1"))
	if subject := <-got; subject != "user:1" {
		t.Errorf("handled %s", subject)
	}
	w.close()
	if err := w.Start(t.Context()); !errors.Is(err, bus.ErrClosed) {
		t.Errorf("Start after Close returned %v, want ErrClosed", err)
	}
}

// silent is a broker that never confirms a subscription.
type silent struct{ brokers.Conn }

func (silent) Subscribe(ctx context.Context, _ brokers.Subscription, _ brokers.Sink) error {
	<-ctx.Done()
	return nil
}

// refusing is a broker that refuses every subscription for good.
type refusing struct{ brokers.Conn }

func (refusing) Subscribe(context.Context, brokers.Subscription, brokers.Sink) error {
	return errors.New("no permission")
}
func (refusing) Retryable(error) bool { return false }

func TestStartSaysWhichSubscriptionIsNotConfirmedAndWhy(t *testing.T) {
	for name, test := range map[string]struct {
		conn brokers.Conn
		time time.Duration
		want string
	}{
		"a broker that is silent":  {silent{memory.New()}, 50 * time.Millisecond, `subscription "s": the broker has not confirmed it yet`},
		"a broker that refuses it": {refusing{memory.New()}, patience, `subscription "s": no permission`},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := bus.New(t.Context(), test.conn, bus.Config{Config: testRules})
			if err != nil {
				t.Fatal(err)
			}
			defer b.Close(ended())
			_, err = b.Subscribe(bus.Subscription{Name: "s", Channels: []string{"x.all"}, Handler: func(context.Context, schema.Event) error { return nil }})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), test.time)
			defer cancel()
			if err = b.Start(ctx); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want it to say %s", err, test.want)
			}
		})
	}
}

// A fickle broker refuses a subscription for good once it is told to.
type fickle struct {
	brokers.Conn
	refuse chan struct{}
}

func (f fickle) Subscribe(ctx context.Context, s brokers.Subscription, sink brokers.Sink) error {
	if s.Name != "bad" {
		return f.Conn.Subscribe(ctx, s, sink)
	}
	sink.Ready()
	<-f.refuse
	return errors.New("no permission")
}

func (fickle) Retryable(error) bool { return false }

// The context of Run ends when a subscription has ended for good, and a handler of another one is still at work.
func TestRunReturnsWhyASubscriptionEndedAlsoWhereItsContextEndsAfterwards(t *testing.T) {
	conn := fickle{memory.New(), make(chan struct{})}
	b, err := bus.New(t.Context(), conn, bus.Config{Config: testRules})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, Bus: b}
	defer b.Close(ended())
	entered, finish := make(chan struct{}), make(chan struct{})
	w.subscribe(bus.Subscription{Name: "bad", Channels: []string{"x.all"}, Handler: func(context.Context, schema.Event) error { return nil }})
	w.subscribe(bus.Subscription{Name: "good", Channels: []string{"x.a"}, Handler: func(context.Context, schema.Event) error {
		close(entered)
		<-finish
		return nil
	}})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	returned := make(chan error, 1)
	go func() { returned <- b.Run(ctx) }()
	<-b.Ready()
	w.emit(event("a.b", "user:1"))
	<-entered
	close(conn.refuse)
	w.until("it has ended", func() bool { return b.Check(t.Context()).Stopping })
	cancel()
	close(finish)
	if err := <-returned; err == nil || !strings.Contains(err.Error(), `subscription "bad": no permission`) {
		t.Errorf("Run returned %v", err)
	}
}

func TestMiddlewareOfTheBusWrapsThatOfTheSubscription(t *testing.T) {
	var calls []string
	named := func(name string) bus.Middleware {
		return func(next bus.Handler) bus.Handler {
			return func(ctx context.Context, e schema.Event) error {
				calls = append(calls, name)
				return next(ctx, e)
			}
		}
	}
	w := newWorld(t, bus.WithMiddleware(named("1"), named("2")), bus.WithMiddleware(named("3")))
	done := make(chan struct{})
	w.subscribe(bus.Subscription{
		Name: "s", Channels: []string{"x.all"}, Middleware: []bus.Middleware{named("4"), named("5")},
		Handler: func(context.Context, schema.Event) error { close(done); return nil },
	})
	w.run()
	w.emit(event("a.b", "user:1"))
	<-done
	w.close()
	if !slices.Equal(calls, []string{"1", "2", "3", "4", "5"}) {
		t.Errorf("called in the order %v", calls)
	}
}
