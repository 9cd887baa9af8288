package redis_test

import (
	"context"
	"fmt"

	"github.com/eventbus-go/eventbus/brokers"
	_ "github.com/eventbus-go/eventbus/brokers/redis"
	"github.com/eventbus-go/eventbus/internal/testbroker"
)

// A printer prints what it gets, and settles it: at the first attempt it asks for a second one.
type printer struct{ done chan struct{} }

func (printer) Ready()          {}
func (printer) Gap(brokers.Gap) {}
func (p printer) Deliver(batch []brokers.Delivery) {
	for _, d := range batch {
		fmt.Printf("attempt %d of %s: %s\n", d.Attempt, d.Channel, d.Body)
		s := brokers.Settlement{Token: d.Token, Verdict: brokers.Ack}
		if d.Attempt == 1 {
			s.Verdict, s.After = brokers.Redeliver, 1
		}
		if err := d.Settler.Settle(context.Background(), []brokers.Settlement{s}); err != nil {
			fmt.Println(err)
		}
		if d.Attempt > 1 {
			close(p.done)
		}
	}
}

// A message that is published while no member of a group runs is delivered later, and again until it is settled.
// Services use package bus, which does all of this.
func Example_streams() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	server, err := testbroker.Start(ctx, testbroker.RedisOptions{InProcess: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Stop()

	conn, err := brokers.Open(ctx, "redis+stream://"+server.Addr())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close(ctx)
	if err := conn.Publish(ctx, []brokers.Message{{Channel: "shop.orders", Body: []byte("order 7")}}); err != nil {
		fmt.Println(err)
		return
	}

	p := printer{done: make(chan struct{})}
	reading, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() {
		ended <- conn.Subscribe(reading, brokers.Subscription{Name: "billing", Group: "billing", Channels: []string{"shop.*"}}, p)
	}()
	<-p.done
	stop()
	fmt.Println("ended:", <-ended)
	// Output:
	// attempt 1 of shop.orders: order 7
	// attempt 2 of shop.orders: order 7
	// ended: <nil>
}
