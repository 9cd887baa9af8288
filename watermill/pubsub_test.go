package watermill_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	wm "github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/components/delay"
	"github.com/ThreeDotsLabs/watermill/message"
	stock "github.com/ThreeDotsLabs/watermill/message/router/middleware"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/brokers/memory"
	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/internal/testbroker"
	"github.com/eventbus-go/eventbus/router"
	"github.com/eventbus-go/eventbus/router/middleware"
	"github.com/eventbus-go/eventbus/schema"
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

// slow is a schedule of redeliveries in virtual time.
var slow = middleware.Backoff{Min: time.Second, Max: 4 * time.Second, Factor: 2}

func TestANackedMessageWaitsLongerEachTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := memory.New()
		pub, sub := open(t, conn, watermill.SubscriberConfig{Redelivery: slow})
		defer closeAll(t, pub, sub, conn)
		msgs := subscribe(t, sub, "a.b")
		send(t, conn, "a.b", message.NewMessage("1", nil), message.NewMessage("2", nil))
		for attempt := 1; attempt <= 4; attempt++ {
			began := time.Now()
			msg := receive(t, msgs)
			if n := router.Attempt(msg.Context()); msg.UUID != "1" || n != attempt {
				t.Errorf("attempt %d is %d, of %q", attempt, n, msg.UUID)
			}
			if took, least := time.Since(began), slow.Ceiling(attempt-1)/2; attempt > 1 && took < least {
				t.Errorf("attempt %d came after %v, want at least %v", attempt, took, least)
			}
			msg.Metadata.Set("spoiled", "by the handler")
			msg.Nack()
			synctest.Wait()
			if msg.Context().Err() == nil {
				t.Error("the context lives although the message was nacked")
			}
		}
		last := receive(t, msgs)
		if last.Metadata["spoiled"] != "" {
			t.Error("what a handler did to the message is in its next attempt")
		}
		last.Ack()
		receive(t, msgs).Ack()
	})
}

func TestAMessageIsGivenUpAfterMaxAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := memory.New()
		var failures []watermill.Failure
		pub, sub := open(t, conn, watermill.SubscriberConfig{
			Group: "g", MaxAttempts: 3, Failed: func(f watermill.Failure) error { failures = append(failures, f); return nil },
		})
		defer closeAll(t, pub, sub, conn)
		msgs := subscribe(t, sub, "a.b")
		send(t, conn, "a.b", message.NewMessage("bad", []byte("x")), message.NewMessage("good", nil))
		for range 3 {
			receive(t, msgs).Nack()
		}
		if msg := receive(t, msgs); msg.UUID != "good" || !msg.Ack() {
			t.Errorf("got %q", msg.UUID)
		}
		if len(failures) != 1 || failures[0].Message.UUID != "bad" || failures[0].Attempts != 3 || failures[0].Topic != "a.b" ||
			!errors.Is(failures[0].Err, watermill.ErrAttempts) {
			t.Errorf("failures: %+v", failures)
		}
	})
}

// A dead letter that could not be written must not be the end of its message.
func TestAMessageThatCannotBeGivenUpIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := memory.New()
		tries := 0
		pub, sub := open(t, conn, watermill.SubscriberConfig{Group: "g", MaxAttempts: 1, Redelivery: slow,
			Failed: func(f watermill.Failure) error {
				switch tries++; tries {
				case 1:
					return errFlaky
				case 2:
					panic("oh")
				}
				return nil
			}})
		defer closeAll(t, pub, sub, conn)
		msgs := subscribe(t, sub, "a.b")
		send(t, conn, "a.b", message.NewMessage("bad", nil), message.NewMessage("good", nil))
		for range 3 {
			if msg := <-msgs; msg.UUID != "bad" || !msg.Nack() {
				t.Errorf("got %q", msg.UUID)
			}
		}
		if msg := <-msgs; msg.UUID != "good" || !msg.Ack() || tries != 3 {
			t.Errorf("got %q after %d tries", msg.UUID, tries)
		}
	})
}

func TestDelayOnErrorSetsTheWaitOfARedelivery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := memory.New()
		pub, sub := open(t, conn, watermill.SubscriberConfig{})
		defer closeAll(t, pub, sub, conn)
		msgs := subscribe(t, sub, "a.b")
		send(t, conn, "a.b", message.NewMessage("1", nil))
		mw := &stock.DelayOnError{InitialInterval: time.Minute, MaxInterval: time.Hour, Multiplier: 3}
		h := mw.Middleware(func(*message.Message) ([]*message.Message, error) { return nil, errFlaky })
		for _, wait := range []time.Duration{0, time.Minute, 3 * time.Minute, 9 * time.Minute} {
			began := time.Now()
			msg := <-msgs
			if took := time.Since(began); took < wait || took > wait+time.Second {
				t.Errorf("it came after %v, want %v", took, wait)
			}
			_, _ = h(msg)
			msg.Nack()
		}
		(<-msgs).Ack()
	})
}

func TestWatermillsDelayIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := memory.New()
		pub, sub := open(t, conn, watermill.SubscriberConfig{})
		defer closeAll(t, pub, sub, conn)
		msgs := subscribe(t, sub, "a.b")
		later := message.NewMessage("later", nil)
		delay.Message(later, delay.For(time.Hour)) // which Watermill writes in whole seconds
		began := time.Now()
		publish(t, pub, "a.b", later, message.NewMessage("now", nil))
		if msg := <-msgs; msg.UUID != "now" || !msg.Ack() {
			t.Errorf("%q came first", msg.UUID)
		}
		msg := <-msgs
		if took := time.Since(began); took < time.Hour-time.Second || took > time.Hour {
			t.Errorf("it came after %v", took)
		}
		msg.Ack()
	})
}

func TestMessagesOfOneKeyAreHandedOutOneAfterTheOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := memory.New()
		pub, sub := open(t, conn, watermill.SubscriberConfig{InFlight: 8})
		defer closeAll(t, pub, sub, conn)
		msgs := subscribe(t, sub, "a.b")
		var all []*message.Message
		for i := range 60 {
			msg := message.NewMessage(fmt.Sprintf("%02d", i), nil)
			msg.Metadata.Set(watermill.MetadataKey, fmt.Sprint("key-", i%3))
			all = append(all, msg)
		}
		send(t, conn, "a.b", all...)
		var mu sync.Mutex
		out, order, most := map[string]int{}, map[string][]string{}, 0
		var wg sync.WaitGroup
		for range all {
			msg := <-msgs
			key := msg.Metadata[watermill.MetadataKey]
			mu.Lock()
			if out[key]++; out[key] > 1 {
				t.Errorf("two messages of %s are out", key)
			}
			order[key] = append(order[key], msg.UUID)
			most = max(most, out["key-0"]+out["key-1"]+out["key-2"])
			mu.Unlock()
			wg.Go(func() {
				time.Sleep(time.Second)
				mu.Lock()
				out[key]--
				mu.Unlock()
				msg.Ack()
			})
		}
		wg.Wait()
		for key, ids := range order {
			if len(ids) != 20 || !slices.IsSorted(ids) {
				t.Errorf("%s came in the order %v", key, ids)
			}
		}
		if most != 3 {
			t.Errorf("at most %d were out at once, want one for each key", most)
		}
	})
}

func TestCloseLetsHandlersFinish(t *testing.T) {
	for name, end := range map[string]func(cancel func(), sub *watermill.Subscriber){
		"Close":                       func(_ func(), sub *watermill.Subscriber) { _ = sub.Close() },
		"the end of the context":      func(cancel func(), _ *watermill.Subscriber) { cancel() },
		"both, as Watermill's Router": func(cancel func(), sub *watermill.Subscriber) { cancel(); _ = sub.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				conn := memory.New()
				pub, sub := open(t, conn, watermill.SubscriberConfig{Group: "g", CloseTimeout: time.Minute})
				defer closeAll(t, pub, sub, conn)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				msgs, err := sub.Subscribe(ctx, "a.b")
				if err != nil {
					t.Fatal(err)
				}
				send(t, conn, "a.b", message.NewMessage("1", nil), message.NewMessage("2", nil))
				msg := <-msgs
				go end(cancel, sub)
				synctest.Wait()
				if _, open := <-msgs; open {
					t.Error("the channel is open")
				}
				time.Sleep(30 * time.Second) // the handler's work
				if err := msg.Context().Err(); err != nil {
					t.Errorf("the context of a message that is being handled: %v", err)
				}
				msg.Ack()
				synctest.Wait()
				wantGroup(t, conn, "2")
			})
		})
	}
}

// wantGroup checks what the group still has.
func wantGroup(t *testing.T, conn brokers.Conn, want ...string) {
	t.Helper()
	sub, err := watermill.NewSubscriber(t.Context(), conn, watermill.SubscriberConfig{Group: "g"})
	if err != nil {
		t.Fatal(err)
	}
	msgs := subscribe(t, sub, "a.b")
	var got []string
	for {
		select {
		case msg := <-msgs:
			got = append(got, msg.UUID)
			msg.Ack()
			continue
		case <-time.After(time.Minute):
		}
		break
	}
	if err := sub.Close(); err != nil || !slices.Equal(got, want) {
		t.Errorf("the group has %v, want %v (%v)", got, want, err)
	}
}

func TestCloseGivesBackWhatIsNotAckedInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := memory.New()
		pub, sub := open(t, conn, watermill.SubscriberConfig{Group: "g", CloseTimeout: time.Minute})
		defer closeAll(t, pub, sub, conn)
		msgs := subscribe(t, sub, "a.b")
		send(t, conn, "a.b", message.NewMessage("1", nil), message.NewMessage("2", nil))
		msg := <-msgs
		began := time.Now()
		if err := sub.Close(); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took != time.Minute || msg.Context().Err() == nil {
			t.Errorf("Close took %v, and the message's context is %v", took, msg.Context().Err())
		}
		msg.Ack() // too late
		if _, err := sub.Subscribe(t.Context(), "a.b"); !errors.Is(err, brokers.ErrClosed) {
			t.Errorf("Subscribe after Close: %v", err)
		}
		wantGroup(t, conn, "1", "2")
	})
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

func TestWhatWasGivenStaysOpen(t *testing.T) {
	conn := memory.New()
	defer conn.Close(t.Context())
	pub, sub := open(t, conn, watermill.SubscriberConfig{})
	if err := errors.Join(pub.Close(), sub.Close(), pub.Close(), sub.Close()); err != nil {
		t.Error(err)
	}
	if err := conn.Publish(t.Context(), []brokers.Message{{ID: "1", Channel: "a.b"}}); err != nil {
		t.Errorf("the connection was closed: %v", err)
	}
	if err := pub.Publish("a.b", message.NewMessage("1", nil)); !errors.Is(err, bus.ErrClosed) {
		t.Errorf("Publish after Close: %v", err)
	}
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
