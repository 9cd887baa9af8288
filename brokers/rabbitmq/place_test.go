package rabbitmq

import (
	"errors"
	"sync"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/internal/handover"
)

// Suppose a redelivery is on its way to the queue in which it waits while the feed, which has no group, begins a new session with a
// new queue: the delivery stays one of the old queue. Both at once are for the race detector to judge.
func TestADeliveryStaysOneOfTheQueueThatItCameFrom(t *testing.T) {
	set := defaults(plainScheme)
	c := &conn{set: &set, life: t.Context()}
	c.execs.Close() // so that the session ends before the server would be needed
	m := &member{conn: c, name: "s", queue: handover.New(), held: make(map[uint64]*held), changed: make(chan struct{})}
	own := set.ownPlace("s", patterns(t, "a.b"))
	f := &feed{m: m, place: own, wake: make(chan struct{}, 1)}
	l := &line{}
	d, ok := m.take(f, l, &amqp.Delivery{Exchange: "e", RoutingKey: "a.b", DeliveryTag: 1, MessageId: "1"})
	if !ok {
		t.Fatal("the delivery is not taken")
	}
	m.lost(l)
	h := m.held[d.Token.Seq]
	var both sync.WaitGroup
	both.Go(func() {
		if err := f.serve(t.Context(), &session{}); !errors.Is(err, brokers.ErrClosed) {
			t.Errorf("the session ended with %v", err)
		}
	})
	both.Go(func() {
		if parked, kept := m.park(t.Context(), []parking{redelivery(h, time.Second)}); len(parked) > 0 || len(kept) != 1 {
			t.Errorf("%d are parked over no line, %d kept", len(parked), len(kept))
		}
	})
	both.Wait()
	if f.place.name == own.name {
		t.Error("the new session has the old queue")
	}
	if now := h.staleKey().queue; now != own.name {
		t.Errorf("the delivery is one of %q now, and came from %q", now, own.name)
	}
}
