package bus_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/router"
	"github.com/eventbus-go/eventbus/schema"
	"github.com/eventbus-go/eventbus/schema/userservice"
)

// ExampleBatchHandler writes events in batches. What it returns is what became of each: an event that fails is tried again, and the
// others of its batch are not.
func ExampleBatchHandler() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	b, err := bus.Open(ctx, "memory://")
	if err != nil {
		fmt.Println(err)
		return
	}
	handled := make(chan int, 1)
	_, err = b.Subscribe(bus.Subscription{
		Name: "analytics", Events: []string{"user.registered"},
		Batch: bus.BatchConfig{MaxEvents: 3, MaxWait: time.Minute},
		BatchHandler: func(ctx context.Context, events []schema.Event) []error {
			errs := make([]error, len(events))
			for i, e := range events {
				if e.Subject == "" {
					errs[i] = router.Permanent(errors.New("nobody registered"))
				}
			}
			handled <- len(events)
			return errs
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := b.Start(ctx); err != nil {
		fmt.Println(err)
		return
	}
	for id := range int64(3) {
		if err := b.Emit(ctx, userservice.NewUserRegistered(userservice.UserRegisteredPayload{UserID: id})); err != nil {
			fmt.Println(err)
		}
	}
	fmt.Println("a batch of", <-handled)
	fmt.Println("closed:", b.Close(ctx))
	// Output:
	// a batch of 3
	// closed: <nil>
}

// ExampleSub_Resume begins with a subscription that is paused: what arrives is held, and handled when it is resumed.
func ExampleSub_Resume() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	b, err := bus.Open(ctx, "memory://")
	if err != nil {
		fmt.Println(err)
		return
	}
	handled := make(chan string, 1)
	sub, err := b.Subscribe(bus.Subscription{
		Name: "mail", Events: []string{"user.registered"}, Paused: true,
		Handler: func(_ context.Context, e schema.Event) error {
			handled <- e.Subject
			return nil
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := b.Start(ctx); err != nil {
		fmt.Println(err)
		return
	}
	if err := b.Publish(ctx, userservice.NewUserRegistered(userservice.UserRegisteredPayload{UserID: 1})); err != nil {
		fmt.Println(err)
	}
	fmt.Println("paused:", sub.Stats().Paused, "handled:", sub.Stats().Handled)
	sub.Resume()
	fmt.Println(<-handled)
	fmt.Println("closed:", b.Close(ctx))
	// Output:
	// paused: true handled: 0
	// user:1
	// closed: <nil>
}
