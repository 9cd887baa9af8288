package watermill_test

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"os"
	"time"

	wm "github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	stock "github.com/ThreeDotsLabs/watermill/message/router/middleware"
	"github.com/ThreeDotsLabs/watermill/pubsub/gochannel"

	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/router"
	"github.com/eventbus-go/eventbus/schema"
	"github.com/eventbus-go/eventbus/watermill"
)

// A Watermill Router on one of our brokers: another broker is another URL.
func Example() {
	ctx, url := context.Background(), "memory://shop"
	pub, err := watermill.OpenPublisher(ctx, url, watermill.PublisherConfig{})
	if err != nil {
		log.Fatal(err)
	}
	sub, err := watermill.OpenSubscriber(ctx, url, watermill.SubscriberConfig{Group: "billing", InFlight: 16})
	if err != nil {
		log.Fatal(err)
	}
	r, err := message.NewRouter(message.RouterConfig{}, wm.NopLogger{})
	if err != nil {
		log.Fatal(err)
	}
	r.AddMiddleware(stock.Recoverer)
	handled := make(chan string)
	r.AddConsumerHandler("billing", "orders.placed", sub, func(msg *message.Message) error {
		handled <- string(msg.Payload) + " for " + msg.Metadata.Get("tenant")
		return nil
	})
	go func() {
		if err := r.Run(ctx); err != nil {
			log.Fatal(err)
		}
	}()
	<-r.Running()
	msg := message.NewMessage(wm.NewUUID(), []byte(`{"order_id":7}`))
	msg.Metadata.Set("tenant", "acme")
	if err := pub.Publish("orders.placed", msg); err != nil {
		log.Fatal(err)
	}
	fmt.Println(<-handled)
	fmt.Println(r.Close(), pub.Close())
	// Output:
	// {"order_id":7} for acme
	// <nil> <nil>
}

// A bus on a Pub/Sub that only Watermill has an adapter for; gochannel stands for it.
func ExampleNewConn() {
	ctx := context.Background()
	pubsub := gochannel.NewGoChannel(gochannel.Config{}, wm.NopLogger{})
	defer pubsub.Close()
	conn, err := watermill.NewConn(watermill.ConnConfig{Publisher: pubsub, Subscriber: pubsub})
	if err != nil {
		log.Fatal(err)
	}
	rules := router.Config{Prefix: "shop", Rules: []router.Rule{{Match: []string{">"}, Channels: []string{"all"}}}}
	b, err := bus.New(ctx, conn, bus.Config{Source: "shop"}, bus.WithRules(rules))
	if err != nil {
		log.Fatal(err)
	}
	handled := make(chan schema.Event)
	if _, err := b.Subscribe(bus.Subscription{Name: "audit", Channels: []string{"shop.all"}, Handler: func(_ context.Context, e schema.Event) error {
		handled <- e
		return nil
	}}); err != nil {
		log.Fatal(err)
	}
	if err := b.Start(ctx); err != nil {
		log.Fatal(err)
	}
	<-b.Ready()
	_ = b.Emit(ctx, schema.Event{Type: "order.placed", Subject: "order:7"})
	e := <-handled
	fmt.Println(e.Type, e.Subject)
	fmt.Println(b.Close(ctx))
	// Output:
	// order.placed order:7
	// <nil>
}

// A Watermill handler and its middleware in a subscription of a bus; what it produces goes to a Watermill Publisher.
func ExampleHandler() {
	pubsub := gochannel.NewGoChannel(gochannel.Config{OutputChannelBuffer: 1}, wm.NopLogger{})
	defer pubsub.Close()
	invoices, err := pubsub.Subscribe(context.Background(), "invoices")
	if err != nil {
		log.Fatal(err)
	}
	bill := func(msg *message.Message) ([]*message.Message, error) {
		return []*message.Message{message.NewMessage("invoice-1", []byte("for "+msg.UUID))}, nil
	}
	h := watermill.Handler(watermill.ChainConfig{Produced: watermill.PublishTo(pubsub, "invoices")}, bill, stock.CorrelationID)

	e := schema.Event{ID: "order-7", Type: "order.placed", Source: "shop", Time: time.Now()}
	_ = e.Metadata.Set("correlation_id", "c-1")
	fmt.Println(h(context.Background(), e)) // a bus calls it: bus.Subscription{Handler: h, …}
	msg := <-invoices
	fmt.Println(string(msg.Payload), stock.MessageCorrelationID(msg))
	// Output:
	// <nil>
	// for order-7 c-1
}

// Watermill's IgnoreErrors around a handler of ours.
func ExampleMiddleware() {
	mw := watermill.Middleware(watermill.ChainConfig{}, stock.NewIgnoreErrors([]error{os.ErrNotExist}).Middleware)
	h := mw(func(_ context.Context, e schema.Event) error {
		fmt.Println("handling", e.Type)
		return os.ErrNotExist
	})
	fmt.Println(h(context.Background(), schema.Event{ID: "1", Type: "file.deleted", Source: "files", Time: time.Now()}))
	// Output:
	// handling file.deleted
	// <nil>
}

// A message that is given up after two attempts goes to a topic of dead letters.
func ExampleSubscriberConfig() {
	ctx, url := context.Background(), "memory://letters"
	pub, err := watermill.OpenPublisher(ctx, url, watermill.PublisherConfig{})
	if err != nil {
		log.Fatal(err)
	}
	defer pub.Close()
	sub, err := watermill.OpenSubscriber(ctx, url, watermill.SubscriberConfig{
		Group: "billing", MaxAttempts: 2, Logger: slog.New(slog.DiscardHandler),
		Failed: func(f watermill.Failure) error { return pub.Publish("orders.dead", f.Message) },
	})
	if err != nil {
		log.Fatal(err)
	}
	defer sub.Close()
	orders, err := sub.Subscribe(ctx, "orders.placed")
	if err != nil {
		log.Fatal(err)
	}
	dead, err := sub.Subscribe(ctx, "orders.dead")
	if err != nil {
		log.Fatal(err)
	}
	if err := pub.Publish("orders.placed", message.NewMessage("poison", nil)); err != nil {
		log.Fatal(err)
	}
	for range 2 {
		msg := <-orders
		fmt.Println("attempt", router.Attempt(msg.Context()))
		msg.Nack()
	}
	msg := <-dead
	fmt.Println("dead:", msg.UUID)
	msg.Ack()
	// Output:
	// attempt 1
	// attempt 2
	// dead: poison
}
