package bus_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	_ "github.com/eventbus-go/eventbus/brokers/memory"
	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/router"
	"github.com/eventbus-go/eventbus/schema"
	"github.com/eventbus-go/eventbus/store/deadletter"
)

// ExampleSubscription_keepOrder has an order fail: its cancellation waits behind it in the dead letters, and a redrive has both handled in
// order.
func ExampleSubscription_keepOrder() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	b, err := bus.OpenConfig(ctx, bus.Config{
		URL: "memory://", Config: router.Config{Rules: []router.Rule{{Match: []string{"order.*"}, Channels: []string{"orders"}}}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer b.Close(ctx)
	var mended atomic.Bool
	sub, err := b.Subscribe(bus.Subscription{
		Name: "billing", Group: "billing", Channels: []string{"orders"}, KeepOrder: true, Retry: bus.RetryPolicy{Attempts: 1},
		Handler: func(_ context.Context, e schema.Event) error {
			if !mended.Load() {
				return errors.New("the database is away")
			}
			fmt.Println("handled", e.Type)
			return nil
		},
	})
	if err := errors.Join(err, b.Start(ctx)); err != nil {
		fmt.Println(err)
		return
	}
	for _, what := range []string{"order.placed", "order.cancelled"} {
		if err := b.Publish(ctx, schema.Event{Type: what, Subject: "order:7", Source: "shop"}); err != nil {
			fmt.Println(err)
			return
		}
	}
	for sub.Stats().Failed+sub.Stats().Behind < 2 && ctx.Err() == nil {
		time.Sleep(time.Millisecond)
	}
	fmt.Println("failed", sub.Stats().Failed, "behind", sub.Stats().Behind)
	mended.Store(true)
	r, err := deadletter.Redrive(ctx, b.DeadLetters(), b.ToSubscription, deadletter.RedriveOptions{})
	fmt.Println("sent", r.Sent, err)
	// Output:
	// failed 1 behind 1
	// handled order.placed
	// handled order.cancelled
	// sent 2 <nil>
}
