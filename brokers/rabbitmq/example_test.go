package rabbitmq_test

import (
	"context"
	"fmt"
	"log"

	"github.com/eventbus-go/eventbus/brokers"
	_ "github.com/eventbus-go/eventbus/brokers/rabbitmq"
)

// Two nodes of a cluster: Open waits for neither of them. A message on a required channel that no group reads is an error.
func Example() {
	ctx := context.Background()
	conn, err := brokers.Open(ctx, "amqp://rabbit-1,rabbit-2/production?required=user_service.>")
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close(ctx)
	fmt.Println("quorum queues count attempts:", conn.Capabilities().Attempts)
	// Output: quorum queues count attempts: true
}

// One consumer of a group is active at a time, and keeps the order of its keys.
func Example_singleActive() {
	ctx := context.Background()
	conn, err := brokers.Open(ctx, "amqp://rabbit-1?single_active=true")
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close(ctx)
	fmt.Println("order:", conn.Capabilities().Order)
	// Output: order: key
}
