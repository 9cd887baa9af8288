package bus_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	_ "github.com/eventbus-go/eventbus/brokers/memory"
	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/schema"
)

// ExampleBreakerPolicy pauses a subscription while the service that its handler calls is down. Without the breaker the event would be a
// dead letter after its single attempt.
func ExampleBreakerPolicy() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	closed := make(chan bool)
	b, err := bus.Open(ctx, "memory://", bus.WithHooks(bus.Hooks{Breaker: func(c bus.BreakerChange) {
		fmt.Println(c.Subscription, "is", c.To)
		if c.To == bus.BreakerClosed {
			close(closed)
		}
	}}))
	if err != nil {
		fmt.Println(err)
		return
	}
	calls := 0
	_, err = b.Subscribe(bus.Subscription{
		Name:    "mailer",
		Events:  []string{"user.*"},
		Rate:    bus.RateLimit{Events: 100, Burst: 20}, // that is what the service takes
		Breaker: bus.BreakerPolicy{Failures: 1, Pause: 10 * time.Millisecond},
		Retry:   bus.RetryPolicy{Attempts: 1},
		Handler: func(context.Context, schema.Event) error {
			if calls++; calls < 2 {
				return errors.New("no connection")
			}
			return nil
		},
	})
	if err := errors.Join(err, b.Start(ctx), b.Emit(ctx, schema.Event{Type: "user.registered", Subject: "user:7"})); err != nil {
		fmt.Println(err)
	}
	<-closed
	fmt.Println("closed:", b.Close(ctx))
	// Output:
	// mailer is open
	// mailer is half_open
	// mailer is closed
	// closed: <nil>
}

// ExampleStuckPolicy leaves a handler behind that ignores the end of its context.
func ExampleStuckPolicy() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	failed := make(chan bus.Failed, 1)
	b, err := bus.Open(ctx, "memory://", bus.WithHooks(bus.Hooks{Failed: func(f bus.Failed) { failed <- f }}))
	if err != nil {
		fmt.Println(err)
		return
	}
	release := make(chan bool)
	_, err = b.Subscribe(bus.Subscription{
		Name:    "mailer",
		Events:  []string{"user.*"},
		Timeout: 10 * time.Millisecond,
		Stuck:   bus.StuckPolicy{After: 10 * time.Millisecond},
		Handler: func(context.Context, schema.Event) error { <-release; return nil },
	})
	if err := errors.Join(err, b.Start(ctx), b.Emit(ctx, schema.Event{ID: "e1", Type: "user.registered"})); err != nil {
		fmt.Println(err)
	}
	f := <-failed
	fmt.Println(f.Event.ID, "failed:", f.Err)
	fmt.Println(b.Close(ctx))
	close(release)
	// Output:
	// e1 failed: stuck: the handler ignores the end of its context, for 20ms
	// bus: close: handlers of mailer (event e1) had not returned: the handler ignores the end of its context
}
