package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/schema"
)

// catalogue has the events of the shop.
var catalogue = schema.NewCatalogue("shop")

type placed struct {
	OrderID int64 `json:"order_id"`
	Cents   int64 `json:"cents"`
}

type packed struct {
	OrderID int64 `json:"order_id"`
	Parcel  int   `json:"parcel"`
}

func orderRef(id int64) string { return schema.Ref("order", id) }

var (
	orderPlaced = schema.MustDefine(catalogue, schema.Definition[placed]{
		Type: "order.placed", Priority: schema.High, Subject: func(p placed) string { return orderRef(p.OrderID) },
	})
	orderPacked = schema.MustDefine(catalogue, schema.Definition[packed]{
		Type: "order.packed", Subject: func(p packed) string { return orderRef(p.OrderID) },
	})
	paymentTaken = schema.MustDefine(catalogue, schema.Definition[placed]{
		Type: "payment.taken", Subject: func(p placed) string { return orderRef(p.OrderID) },
	})
)

// A shop publishes and handles events, and does not know which broker carries them.
type shop struct {
	bus bus.Publisher
	t   *transcript

	mu       sync.Mutex
	attempts int
	audited  int
	parcels  map[int64]int
}

func (s *shop) subscribe(b *bus.Bus) error {
	for _, sub := range []bus.Subscription{
		{Name: "mail", Handlers: []bus.TypedHandler{bus.On(orderPlaced, s.confirm)}},
		{
			Name: "billing", Handlers: []bus.TypedHandler{bus.On(orderPlaced, s.charge)},
			Retry: bus.RetryPolicy{Attempts: 3, Backoff: bus.Backoff{Min: time.Millisecond, Max: 10 * time.Millisecond}},
		},
		{Name: "warehouse", Handlers: []bus.TypedHandler{bus.On(orderPacked, s.ship)}},
		// It reads every event on two channels, and handles it once.
		{Name: "audit", Channels: []string{"switch_broker.orders", "switch_broker.payments", "switch_broker.all"}, Handler: s.audit},
	} {
		if _, err := b.Subscribe(sub); err != nil {
			return err
		}
	}
	return nil
}

func (s *shop) confirm(_ context.Context, _ schema.Event, p placed) error {
	s.t.say("mail       confirms order %d", p.OrderID)
	return nil
}

// charge fails at the first attempt, and publishes what it did at the second.
func (s *shop) charge(ctx context.Context, e schema.Event, p placed) error {
	s.mu.Lock()
	s.attempts++
	attempt := s.attempts
	s.mu.Unlock()
	if attempt == 1 {
		s.t.say("billing    cannot reach the bank for order %d", p.OrderID)
		return errors.New("the bank does not answer")
	}
	s.t.say("billing    takes %d.%02d for order %d at attempt %d", p.Cents/100, p.Cents%100, p.OrderID, attempt)
	return s.bus.Emit(ctx, paymentTaken.New(p))
}

func (s *shop) ship(_ context.Context, _ schema.Event, p packed) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.parcels == nil {
		s.parcels = make(map[int64]int)
	}
	if s.parcels[p.OrderID]++; s.parcels[p.OrderID] == parcels {
		s.t.say("warehouse  ships %d parcels of order %d", parcels, p.OrderID)
	}
	return nil
}

func (s *shop) audit(_ context.Context, e schema.Event) error {
	if !orderPacked.Is(e) {
		s.t.say("audit      %s about %s", e.Type, e.Subject)
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.audited++; s.audited == orders*parcels {
		s.t.say("audit      %d times %s", s.audited, e.Type)
	}
	return nil
}

// So many orders are packed, of so many parcels each.
const orders, parcels = 3, 100

// story is what happens, scene by scene.
func (s *shop) story(ctx context.Context) error {
	err := s.t.scene(ctx, "an order is placed, and the bank does not answer at once", 5, func() error {
		return s.bus.Publish(ctx, orderPlaced.New(placed{OrderID: 1, Cents: 1999}))
	})
	if err != nil {
		return err
	}
	err = s.t.scene(ctx, "three orders are packed, a hundred parcels each", orders+1, func() error {
		for parcel := range parcels {
			for order := range int64(orders) {
				if err := s.bus.Emit(ctx, orderPacked.New(packed{OrderID: order + 1, Parcel: parcel})); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return s.t.scene(ctx, "an event that is none is refused, before anything is sent", 1, func() error {
		err := s.bus.Publish(ctx, orderPlaced.New(placed{OrderID: 2}), schema.Event{Type: "Order Placed"})
		if refused := new(bus.EventError); errors.As(err, &refused) {
			s.t.say("publisher  is told: event %d is refused at the stage %s", refused.Index, refused.Stage)
			return nil
		}
		return fmt.Errorf("the event was not refused: %v", err)
	})
}

// account is what became of everything.
func (s *shop) account(st bus.Stats) error {
	p := st.Published
	fmt.Fprintf(s.t.out, "published: %d messages, %d confirmed, %d rejected, %d dropped\n",
		p.Accepted, p.Confirmed, p.Rejected, p.DroppedTotal())
	var lines []string
	for name, sub := range st.Subscriptions {
		lines = append(lines, fmt.Sprintf("%-10s %d handled, %d failed, %d gaps\n", name, sub.Handled, sub.Failed, sub.Gaps))
	}
	slices.Sort(lines)
	_, err := fmt.Fprint(s.t.out, strings.Join(lines, ""))
	return err
}
