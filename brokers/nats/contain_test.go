package nats

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
)

// Suppose the client or we ourselves panic on a goroutine of the driver's: the process has other subscriptions.
func TestAPanicOfTheDriverIsTheCallsError(t *testing.T) {
	for scheme, base := range map[string]func(brokers.Conn) *base{
		"nats":    func(c brokers.Conn) *base { return &c.(*core).base },
		"nats+js": func(c brokers.Conn) *base { return &c.(*jet).base },
	} {
		c, err := brokers.Open(t.Context(), scheme+"://127.0.0.1:1")
		if err != nil {
			t.Fatal(err)
		}
		b := base(c)
		pub, sub := b.pub, b.sub
		b.pub, b.sub = nil, nil // whoever uses them panics
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		panicked(t, c.Subscribe(ctx, brokers.Subscription{Name: "s", Channels: []string{"a.b"}}, nil))
		panicked(t, c.(brokers.Pinger).Ping(ctx))
		b.pub, b.sub = pub, sub
		_ = c.Close(ctx)
	}
}

// panicked fails unless err is a panic that may be tried again.
func panicked(t *testing.T, err error) {
	t.Helper()
	if p := new(brokers.PanicError); !errors.As(err, &p) || !retryable(err) {
		t.Errorf("the error is %v", err)
	}
}
