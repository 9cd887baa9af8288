package watermill_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/brokers/memory"
	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/watermill"
)

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

// A silent broker never confirms a subscription.
type silent struct{ brokers.Conn }

func (silent) Subscribe(ctx context.Context, _ brokers.Subscription, _ brokers.Sink) error {
	<-ctx.Done()
	return nil
}

// Two times end at once there, that of the subscription and that of its context.
func TestAnInitializationThatTheBrokerDoesNotConfirmFails(t *testing.T) {
	for name, tt := range map[string]struct {
		close bool
		want  error
	}{"in time": {false, context.DeadlineExceeded}, "before Close": {true, brokers.ErrClosed}} {
		t.Run(name, func(t *testing.T) {
			for range 100 {
				synctest.Test(t, func(t *testing.T) {
					sub, err := watermill.NewSubscriber(t.Context(), silent{memory.New()}, watermill.SubscriberConfig{})
					if err != nil {
						t.Fatal(err)
					}
					said := make(chan error, 1)
					go func() { said <- sub.SubscribeInitialize("a.b") }()
					synctest.Wait()
					if tt.close {
						_ = sub.Close()
					}
					if err := <-said; !errors.Is(err, tt.want) {
						t.Errorf("it said %v, want %v", err, tt.want)
					}
					_ = sub.Close()
				})
			}
		})
	}
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
