package watermill_test

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/components/delay"
	"github.com/ThreeDotsLabs/watermill/message"
	stock "github.com/ThreeDotsLabs/watermill/message/router/middleware"

	"github.com/eventbus-go/eventbus/brokers/memory"
	"github.com/eventbus-go/eventbus/router"
	"github.com/eventbus-go/eventbus/router/middleware"
	"github.com/eventbus-go/eventbus/watermill"
)

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
