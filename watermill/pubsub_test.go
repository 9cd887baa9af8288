package watermill_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	wm "github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	stock "github.com/ThreeDotsLabs/watermill/message/router/middleware"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/brokers/memory"
	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/internal/testbroker"
	"github.com/eventbus-go/eventbus/router"
	"github.com/eventbus-go/eventbus/schema"
	"github.com/eventbus-go/eventbus/watermill"
)

// oddMessages are what Watermill allows.
func oddMessages() []*message.Message {
	many := message.NewMessage("many", []byte("x"))
	for i := range 200 {
		many.Metadata.Set(fmt.Sprint("key-", i), fmt.Sprint("value ", i))
	}
	odd := message.NewMessage("odd", []byte{0, 0xff, '\n'})
	odd.Metadata = message.Metadata{
		"": "no key", "a b": "a space", "ü": "ä", "line": "one\r\ntwo", "nul": "\x00", "bytes": "\xff\xfe", "empty": "",
		"ends": " in spaces ", "percent": "100%&=?", "same": "a", "Same": "b",
		strings.Repeat("k", brokers.MaxHeaderKey): "the longest key", strings.Repeat("K", brokers.MaxHeaderKey+1): "a longer one",
	}
	fields := message.NewMessage("fields", []byte(`{"a":1}`))
	fields.Metadata = message.Metadata{
		watermill.MetadataType: "order.placed", watermill.MetadataKey: "order:7", watermill.MetadataPriority: "critical",
		watermill.MetadataTime: "2026-01-02T03:04:05.678Z",
	}
	return []*message.Message{
		message.NewMessage(wm.NewUUID(), []byte(`{"order_id": 7, "order_id": 8}`)), message.NewMessage("json", []byte(`{"a" : [1, 2]}`)),
		message.NewMessage("", []byte("no UUID")), message.NewMessage(strings.Repeat("long", 100), []byte("x")),
		message.NewMessage("line\nbreak", []byte("x")), message.NewMessage("empty", nil), message.NewMessage("blank", []byte(" {} ")),
		message.NewMessage("deep", []byte(strings.Repeat(`{"a":`, 100)+"1"+strings.Repeat("}", 100))), odd, many, fields,
	}
}

func TestAnyMessageArrivesAsItWasPublished(t *testing.T) {
	redis, nats := testbroker.AnyRedis(t), testbroker.AnyNATS(t, testbroker.NATSOptions{JetStream: true})
	for _, url := range []string{"memory://" + t.Name(), redis.URL(), nats.URL(), nats.JetURL(), "redis+stream" + strings.TrimPrefix(redis.URL(), "redis")} {
		scheme, _, _ := strings.Cut(url, ":")
		for _, format := range []watermill.Format{watermill.FormatAuto, watermill.FormatEnvelope} {
			t.Run(fmt.Sprint(scheme, "/", format), func(t *testing.T) {
				conn, err := brokers.Open(t.Context(), url)
				if err != nil {
					t.Fatal(err)
				}
				sub, err := watermill.NewSubscriber(t.Context(), conn, watermill.SubscriberConfig{})
				if err != nil {
					t.Fatal(err)
				}
				pub, err := watermill.NewPublisher(t.Context(), conn, watermill.PublisherConfig{Format: format})
				if err != nil {
					t.Fatal(err)
				}
				defer closeAll(t, pub, sub, conn)
				arrivesAsItWas(t, pub, subscribe(t, sub, "a.b"))
			})
		}
	}
}

func arrivesAsItWas(t *testing.T, pub message.Publisher, msgs <-chan *message.Message) {
	t.Helper()
	for _, want := range oddMessages() {
		before := want.Copy()
		publish(t, pub, "a.b", want)
		if !want.Equals(before) {
			t.Errorf("publishing changed %q", want.UUID)
		}
		got := receive(t, msgs)
		if !got.Equals(want) {
			t.Errorf("%q arrived as %q:\n%q\n%q\n%q\n%q", want.UUID, got.UUID, want.Metadata, got.Metadata, want.Payload, got.Payload)
		}
		got.Ack()
	}
}

func TestAnEventOfABusIsAMessageWithItsEnvelope(t *testing.T) {
	redis := testbroker.AnyRedis(t)
	for _, url := range []string{"memory://" + t.Name(), redis.URL()} {
		conn, err := brokers.Open(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		pub, sub := open(t, conn, watermill.SubscriberConfig{})
		defer closeAll(t, pub, sub, conn)
		msgs := subscribe(t, sub, "shop.all")
		rules := router.Config{Prefix: "shop", Rules: []router.Rule{{Match: []string{">"}, Channels: []string{"all"}}}}
		b, err := bus.Open(t.Context(), url, bus.WithRules(rules))
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Publish(t.Context(), placed(t)); err != nil {
			t.Fatal(err)
		}
		got := receive(t, msgs)
		e, err := schema.Decode(got.Payload, 0)
		if err != nil || got.UUID != "id-1" || e.ID != "id-1" || got.Metadata[watermill.MetadataType] != "order.placed" ||
			got.Metadata[watermill.MetadataKey] != "order:7" || got.Metadata[watermill.MetadataPriority] != "high" {
			t.Errorf("%s: the event is the message %q with %v and %s (%v)", url, got.UUID, got.Metadata, got.Payload, err)
		}
		got.Ack()
		if err := b.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

func TestAnEnvelopeThatWatermillPublishesIsAnEventOfTheBus(t *testing.T) {
	url := "memory://" + t.Name()
	pub, err := watermill.OpenPublisher(t.Context(), url, watermill.PublisherConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer pub.Close()
	b, err := bus.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close(t.Context())
	got := make(chan schema.Event, 1)
	if _, err := b.Subscribe(bus.Subscription{Name: "s", Channels: []string{"a.b"}, Handler: func(_ context.Context, e schema.Event) error {
		got <- e
		return nil
	}}); err != nil {
		t.Fatal(err)
	}
	if err := b.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	payload, err := schema.Encode(placed(t))
	if err != nil {
		t.Fatal(err)
	}
	publish(t, pub, "a.b", message.NewMessage("id-1", payload))
	if e := <-got; e.ID != "id-1" || e.Subject != "order:7" {
		t.Errorf("got %+v", e)
	}
}

// With Watermill 1.5, a PoisonQueue around a Timeout published with the message's context, which was over: nothing arrived,
// and the message came again at once, for ever.
func TestAMessageWhoseContextIsOverIsPublished(t *testing.T) {
	conn := memory.New()
	pub, sub := open(t, conn, watermill.SubscriberConfig{})
	defer closeAll(t, pub, sub, conn)
	msgs, poison := subscribe(t, sub, "a.b"), subscribe(t, sub, "a.poison")
	queue, err := stock.PoisonQueue(pub, "a.poison")
	if err != nil {
		t.Fatal(err)
	}
	h := queue(stock.Timeout(10 * time.Millisecond)(func(msg *message.Message) ([]*message.Message, error) {
		<-msg.Context().Done()
		return nil, msg.Context().Err()
	}))
	publish(t, pub, "a.b", message.NewMessage("1", []byte("x")))
	msg := receive(t, msgs)
	if _, err := h(msg); err != nil {
		t.Errorf("the poison queue: %v", err)
	}
	msg.Ack()
	if got := receive(t, poison); got.UUID != "1" || string(got.Payload) != "x" || !got.Ack() {
		t.Errorf("got %q", got.UUID)
	}
}

// A message is put back where it came from with its UUID: a broker that drops a second message of one ID must not take it for
// the same.
func TestAMessageMayBePublishedTwice(t *testing.T) {
	server := testbroker.AnyNATS(t, testbroker.NATSOptions{JetStream: true})
	conn, err := brokers.Open(t.Context(), server.JetURL())
	if err != nil {
		t.Fatal(err)
	}
	pub, sub := open(t, conn, watermill.SubscriberConfig{Group: "g"})
	defer closeAll(t, pub, sub, conn)
	msgs := subscribe(t, sub, "a.b")
	for range 2 {
		publish(t, pub, "a.b", message.NewMessage("again", nil))
		if msg := receive(t, msgs); msg.UUID != "again" || !msg.Ack() {
			t.Errorf("got %q", msg.UUID)
		}
	}
}

func TestABodyThatIsTooLongFailsAndTheNextOneArrives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := memory.New()
		var failure watermill.Failure
		pub, sub := open(t, conn, watermill.SubscriberConfig{MaxBytes: 10, Failed: func(f watermill.Failure) error { failure = f; return nil }})
		defer closeAll(t, pub, sub, conn)
		msgs := subscribe(t, sub, "a.b")
		send(t, conn, "a.b", message.NewMessage("long", []byte(strings.Repeat("x", 100))), message.NewMessage("short", []byte("x")))
		if msg := receive(t, msgs); msg.UUID != "short" || !msg.Ack() {
			t.Errorf("got %q", msg.UUID)
		}
		malformed := new(watermill.MalformedError)
		if !errors.As(failure.Err, &malformed) || malformed.Reason != brokers.ReasonTooLarge || malformed.Size != 100 || failure.Message.UUID != "long" {
			t.Errorf("the failure is %+v", failure)
		}
	})
}

func TestAPatternTellsTheChannel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := memory.New()
		pub, sub := open(t, conn, watermill.SubscriberConfig{})
		defer closeAll(t, pub, sub, conn)
		msgs := subscribe(t, sub, "a.*")
		send(t, conn, "a.b", message.NewMessage("1", nil))
		if msg := receive(t, msgs); msg.Metadata[watermill.MetadataChannel] != "a.b" || !msg.Ack() {
			t.Errorf("metadata: %v", msg.Metadata)
		}
	})
}

func TestWhatCannotBeIsRefusedWithTheRemedy(t *testing.T) {
	redis := testbroker.AnyRedis(t)
	if _, err := watermill.OpenSubscriber(t.Context(), redis.URL(), watermill.SubscriberConfig{Group: "billing"}); !isRefusal(err) {
		t.Errorf("a group on Pub/Sub: %v", err)
	}
	conn := memory.New()
	pub, sub := open(t, conn, watermill.SubscriberConfig{})
	defer closeAll(t, pub, sub, conn)
	for _, topic := range []string{"Orders", "a b", "", "a.*", "$JS.API.STREAM.DELETE.X", strings.Repeat("x", 70_000)} {
		if err := pub.Publish(topic, message.NewMessage("1", nil)); err == nil {
			t.Errorf("publishing to %.20q was not refused", topic)
		}
	}
	for _, topic := range []string{"Orders", "a b", ""} {
		if _, err := sub.Subscribe(t.Context(), topic); err == nil {
			t.Errorf("subscribing to %q was not refused", topic)
		}
	}
	bad := message.NewMessage("1", nil)
	bad.Metadata.Set(watermill.MetadataPriority, "urgent")
	if err := pub.Publish("a.b", bad); err == nil || !strings.Contains(err.Error(), "low, normal, high, critical") {
		t.Errorf("a priority that is none: %v", err)
	}
	if err := pub.Publish("a.b"); err != nil {
		t.Errorf("publishing nothing: %v", err)
	}
}

func isRefusal(err error) bool {
	refused := new(brokers.CapabilityError)
	return errors.As(err, &refused)
}

func TestAGroupOfABusCanBeJoined(t *testing.T) {
	url := "memory://" + t.Name()
	b, err := bus.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close(t.Context())
	if _, err := b.Subscribe(bus.Subscription{Name: "s", Group: "billing", Channels: []string{"a.b"}, Handler: func(context.Context, schema.Event) error { return nil }}); err != nil {
		t.Fatal(err)
	}
	if err := b.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	sub, err := watermill.OpenSubscriber(t.Context(), url, watermill.SubscriberConfig{
		Group: "billing", GroupName: func(group, _ string) string { return group },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	for i := range 5000 { // a refused subscription ends by itself at once, and that must not look like one that began
		if _, err := sub.Subscribe(t.Context(), "a.c"); err == nil {
			t.Fatalf("another channel in the same group was not refused at try %d: the name is not the bus's", i+1)
		}
	}
	if _, err := sub.Subscribe(t.Context(), "a.b"); err != nil {
		t.Error(err)
	}
}
