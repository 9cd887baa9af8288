package kafka_test

import (
	"context"
	"fmt"
	"log"

	"github.com/eventbus-go/eventbus/brokers"
	_ "github.com/eventbus-go/eventbus/brokers/kafka"
)

// A cluster whose users log in over TLS. Open waits for no broker; the password is read when a connection is made.
func Example() {
	ctx := context.Background()
	conn, err := brokers.Open(ctx, "kafka://billing@kafka-1:9093,kafka-2:9093?tls=true&sasl=scram-sha-512&create=false")
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close(ctx)
	fmt.Println("Kafka keeps the order of a key:", conn.Capabilities().Order == brokers.OrderKey)
	// Output: Kafka keeps the order of a key: true
}

// A step of a deployment, with an account that may create topics, sets up what a service needs whose own account may not.
func Example_provision() {
	ctx := context.Background()
	conn, err := brokers.Open(ctx, "kafka://kafka-1:9092?partitions=12&replication=3")
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close(ctx)
	err = conn.(brokers.Provisioner).Provision(ctx, brokers.Provision{
		Channels: []string{"user_service.events.all"},
		Groups:   []brokers.GroupProvision{{Group: "billing", Channels: []string{"user_service.events.all"}}},
	})
	if err != nil {
		log.Fatal(err)
	}
}
