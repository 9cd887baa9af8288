package bustest_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/bustest"
	"github.com/eventbus-go/eventbus/router"
	"github.com/eventbus-go/eventbus/schema"
	"github.com/eventbus-go/eventbus/store/deadletter"
)

// What a user's test looks like: a payment that fails is tried for a day, whatever the broker does meanwhile, and is then in
// the dead letters. It takes milliseconds.
func TestAPaymentIsTriedForADay(t *testing.T) {
	bustest.Simulate(t, 10, func(t *testing.T, seed uint64) {
		letters := deadletter.NewMemory(0, 0)
		broker := bustest.NewBroker(t, seed, bustest.Delay(0, time.Minute).Rate(0.3), bustest.CrashBeforeAck().Rate(0.3))
		b, err := bus.New(t.Context(), broker, bus.Config{Config: toOrders}, bus.WithDeadLetters(letters), quiet)
		if err != nil {
			t.Fatal(err)
		}
		s := &seen{began: time.Now()}
		_, err = b.Subscribe(bus.Subscription{
			Name: "payments", Group: "payments", Channels: []string{"orders"},
			Retry: bus.RetryPolicy{Attempts: 4, Backoff: bus.Backoff{Min: 8 * time.Hour, Max: 8 * time.Hour, NoJitter: true}},
			Handler: func(ctx context.Context, e schema.Event) error {
				s.note(e, router.Attempt(ctx))
				if e.Type == "pay" {
					return errors.New("the bank is closed")
				}
				return nil
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		for i, typ := range []string{"pay", "ship"} {
			if err := b.Emit(t.Context(), schema.Event{Type: typ, Subject: fmt.Sprintf("order:%d", i)}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(25 * time.Hour)
		if err := b.Close(t.Context()); err != nil {
			t.Error(err)
		}
		tries := slices.DeleteFunc(s.all(), func(s string) bool { return s[:3] != "pay" })
		if len(tries) < 4 || tries[3][:5] != "pay#4" {
			t.Errorf("it was tried %v", tries)
		}
		groups, err := deadletter.Groups(t.Context(), letters, deadletter.Query{})
		if err != nil || len(groups) != 1 || groups[0].Example.EventType != "pay" {
			t.Errorf("the dead letters are %+v, %v", groups, err)
		}
	})
}

func ExampleNewBroker() {
	var t printer // a *testing.T in a test
	broker := bustest.NewBroker(t, 1, bustest.Duplicate().Of("order.paid").Nth(1))
	b, err := bus.New(context.Background(), broker, bus.Config{Config: toOrders, DeadLetters: bus.NoDeadLetters})
	if err != nil {
		fmt.Println(err)
		return
	}
	handled := make(chan string, 2)
	_, err = b.Subscribe(bus.Subscription{
		Name: "billing", Channels: []string{"orders"},
		Handler: func(_ context.Context, e schema.Event) error { handled <- e.Type; return nil },
	})
	if err == nil {
		err = b.Start(context.Background())
	}
	if err == nil {
		err = b.Emit(context.Background(), schema.Event{Type: "order.paid"})
	}
	fmt.Println(<-handled, <-handled, err)
	fmt.Println(b.Close(context.Background()), broker)
	// Output:
	// order.paid order.paid <nil>
	// <nil> map[duplicate:1]
}
