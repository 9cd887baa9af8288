package nats_test

import (
	"context"
	"fmt"
	"log"

	"github.com/eventbus-go/eventbus/brokers"
	_ "github.com/eventbus-go/eventbus/brokers/nats"
)

// Two servers of a cluster: Open waits for neither of them, and each connection goes to one that answers.
func Example() {
	ctx := context.Background()
	conn, err := brokers.Open(ctx, "nats://nats-1,nats-2?ping_interval=2s")
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close(ctx)
	fmt.Println("core NATS stores messages:", conn.Capabilities().Durable)
	// Output: core NATS stores messages: false
}

// The same service on JetStream, on a stream that an operator made and that the service may not change.
func Example_jetStream() {
	ctx := context.Background()
	conn, err := brokers.Open(ctx, "nats+js://nats-1,nats-2?stream=USERS&subjects=user_service.>&create=false")
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close(ctx)
	fmt.Println("JetStream stores messages:", conn.Capabilities().Durable)
	// Output: JetStream stores messages: true
}

// A step of a deployment, with an account that may make streams, sets up what a service needs whose own account may not.
func Example_provision() {
	ctx := context.Background()
	conn, err := brokers.Open(ctx, "nats+js://nats-1?creds=/run/secrets/admin.creds&replicas=3")
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close(ctx)
	err = conn.(brokers.Provisioner).Provision(ctx, brokers.Provision{
		Channels: []string{"user_service.events.all"},
		Groups:   []brokers.GroupProvision{{Group: "billing", Channels: []string{"user_service.events.>"}}},
	})
	if err != nil {
		log.Fatal(err)
	}
}
