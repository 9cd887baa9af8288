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
		want string
	}{
		"a broker that is silent":  {silent{memory.New()}, `subscription "s": the broker has not confirmed it yet`},
		"a broker that refuses it": {refusing{memory.New()}, `subscription "s": no permission`},
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
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			if err = b.Start(ctx); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want it to say %s", err, test.want)
			}
		})
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
