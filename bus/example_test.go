package bus_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	_ "github.com/eventbus-go/eventbus/brokers/memory"
	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/router/middleware"
	"github.com/eventbus-go/eventbus/schema"
	"github.com/eventbus-go/eventbus/schema/userservice"
)

// Example publishes an event of the user service and handles it, over the broker in the process. Another broker is another
// URL, and its driver's import.
func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	b, err := bus.Open(ctx, "memory://")
	if err != nil {
		fmt.Println(err)
		return
	}
	var handled sync.WaitGroup
	handled.Add(1)
	_, err = b.Subscribe(bus.Subscription{
		Name: "security",
		Handlers: []bus.TypedHandler{
			bus.On(userservice.RoleAssigned, func(ctx context.Context, e schema.Event, p userservice.RoleAssignedPayload) error {
				defer handled.Done()
				fmt.Println(e.Actor, "made", e.Subject, p.RoleName)
				return nil
			}),
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
	err = b.Emit(ctx, userservice.NewRoleAssigned(userservice.RoleAssignedPayload{UserID: 456, RoleName: "admin"}, 1))
	if err != nil {
		fmt.Println(err)
	}
	handled.Wait()
	fmt.Println("closed:", b.Close(ctx))
	// Output:
	// user:1 made user:456 admin
	// closed: <nil>
}

// ExampleBus_Publish waits for the broker, and learns what became of the event on each channel.
func ExampleBus_Publish() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	b, err := bus.Open(ctx, "memory://")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer b.Close(ctx)

	err = b.Publish(ctx, schema.Event{Type: "user.activated", Subject: "user:7"})
	fmt.Println("published:", err)

	var refused *bus.EventError
	err = b.Publish(ctx, schema.Event{Type: "User Activated"})
	fmt.Println("refused:", errors.As(err, &refused), refused.Stage)
	// Output:
	// published: <nil>
	// refused: true validate
}

// ExampleBus_Pack takes the two halves of Publish apart: what stores messages first, such as an outbox, packs now and
// sends later.
// Rules say which broker an event goes to, and which one stands in for it: services know neither.
func Example_severalBrokers() {
	ctx := context.Background()
	cfg, err := bus.ParseConfig([]byte(`
brokers:
  main: memory://
  audit: memory://
prefix: shop
rules:
  - match: order.*
    channels: orders
  - match: [order.refunded, order.deleted]
    channels: revision
    broker: audit
    fallback: main                  # while audit is unavailable
`))
	if err != nil {
		fmt.Println(err)
		return
	}
	b, err := bus.OpenConfig(ctx, cfg)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer b.Close(ctx)
	if err := b.Publish(ctx, schema.Event{Type: "order.placed"}, schema.Event{Type: "order.refunded"}); err != nil {
		fmt.Println(err)
	}
	for name, broker := range b.Stats().Brokers {
		fmt.Println(name, broker.Published.Confirmed)
	}
	fmt.Println(b.Explain(schema.Event{Type: "order.refunded", Source: "shop"}))
	// Unordered output:
	// main 2
	// audit 1
	// order.refunded from shop, priority normal
	//   + rules[0]  order.* -> shop.orders
	//   + rules[1]  order.refunded -> shop.revision on audit or else main
	// goes to shop.orders, shop.revision on audit or else main
}

func ExampleBus_Pack() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	b, err := bus.Open(ctx, "memory://")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer b.Close(ctx)

	msgs, err := b.Pack(ctx, schema.Event{Type: "login.failed", Priority: schema.High})
	for _, m := range msgs {
		fmt.Println(m.Channel)
	}
	fmt.Println(err, b.Send(ctx, msgs), b.Stats().Published.Confirmed)
	// Output:
	// user_service.events.auth
	// user_service.events.security
	// user_service.events.all
	// <nil> <nil> 3
}

// ExampleSubscription shows a policy of retries, and what a handler can ask for by the error it returns.
func ExampleSubscription() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	failed := make(chan bus.Failed, 1)
	b, err := bus.Open(ctx, "memory://", bus.WithHooks(bus.Hooks{Failed: func(f bus.Failed) { failed <- f }}))
	if err != nil {
		fmt.Println(err)
		return
	}
	sub, err := b.Subscribe(bus.Subscription{
		Name:        "mailer",
		Events:      []string{"user.*"},
		Concurrency: 4,
		Timeout:     5 * time.Second,
		Retry:       middleware.Policy{Attempts: 5, Backoff: middleware.Backoff{Min: 100 * time.Millisecond, Max: 10 * time.Second}},
		Handler: func(ctx context.Context, e schema.Event) error {
			return bus.Permanent(errors.New("no such mailbox"))
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
	fmt.Println("reads", sub.Channels())
	if err := b.Publish(ctx, schema.Event{Type: "user.registered", Subject: "user:7"}); err != nil {
		fmt.Println(err)
	}
	f := <-failed
	fmt.Println("failed, attempts:", f.Attempts, "because", f.Err)
	fmt.Println("closed:", b.Close(ctx))
	// Output:
	// reads [user_service.events.user]
	// failed, attempts: 1 because permanent: no such mailbox
	// closed: <nil>
}
