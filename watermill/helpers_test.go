package watermill_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/watermill"
)

// open returns a Publisher and a Subscriber over one connection, all of which end with the test.
func open(t *testing.T, conn brokers.Conn, cfg watermill.SubscriberConfig) (*watermill.Publisher, *watermill.Subscriber) {
	t.Helper()
	pub, err := watermill.NewPublisher(t.Context(), conn, watermill.PublisherConfig{})
	if err != nil {
		t.Fatal(err)
	}
	sub, err := watermill.NewSubscriber(t.Context(), conn, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return pub, sub
}

func closeAll(t *testing.T, pub *watermill.Publisher, sub *watermill.Subscriber, conn brokers.Conn) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
	defer cancel()
	if err := errors.Join(pub.Close(), sub.Close(), conn.Close(ctx)); err != nil {
		t.Error(err)
	}
}

func subscribe(t *testing.T, sub message.Subscriber, topic string) <-chan *message.Message {
	t.Helper()
	msgs, err := sub.Subscribe(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	return msgs
}

func publish(t *testing.T, pub message.Publisher, topic string, msgs ...*message.Message) {
	t.Helper()
	if err := pub.Publish(topic, msgs...); err != nil {
		t.Fatal(err)
	}
}

// send publishes on the connection itself: in a bubble of virtual time a bus, and so a Publisher, would use what another
// test's bubble has left in its pools.
func send(t *testing.T, conn brokers.Conn, topic string, msgs ...*message.Message) {
	t.Helper()
	var batch []brokers.Message
	for _, msg := range msgs {
		batch = append(batch, brokers.Message{ID: msg.UUID, Channel: topic, Key: msg.Metadata[watermill.MetadataKey], Body: msg.Payload})
	}
	if err := conn.Publish(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
}

func receive(t *testing.T, msgs <-chan *message.Message) *message.Message {
	t.Helper()
	select {
	case msg, ok := <-msgs:
		if !ok {
			t.Fatal("the channel is closed")
		}
		return msg
	case <-time.After(time.Minute):
		t.Fatal("no message arrives")
	}
	return nil
}
