package main

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/eventbus-go/eventbus/schema"
	"github.com/eventbus-go/eventbus/schema/userservice"
)

// A recorder is a bus.Publisher that keeps what it is given.
type recorder struct {
	events []schema.Event
	err    error
}

func (r *recorder) Emit(_ context.Context, events ...schema.Event) error {
	r.events = append(r.events, events...)
	return r.err
}

func (r *recorder) Publish(ctx context.Context, events ...schema.Event) error {
	return r.Emit(ctx, events...)
}

// deliver hands an event to a subscription whose handler returns err.
func deliver(t *testing.T, tally *tally, subscription string, e schema.Event, err error) {
	t.Helper()
	handler := tally.handled(subscription)(func(context.Context, schema.Event) error { return err })
	if got := handler(t.Context(), e); !errors.Is(got, err) {
		t.Fatalf("the middleware returned %v instead of %v", got, err)
	}
}

func expectTotals(t *testing.T, tally *tally, published, delivered, lost int) {
	t.Helper()
	p, d, l := tally.totals()
	if p != published || d != delivered || l != lost {
		t.Fatalf("published %d, delivered %d, lost %d, want %d, %d, %d", p, d, l, published, delivered, lost)
	}
}

func TestTheTallyCountsEachDeliveryOnce(t *testing.T) {
	var r recorder
	tally := newTally(&r)
	if err := tally.Emit(t.Context(), userservice.NewLogout(userservice.LogoutPayload{UserID: 1})); err != nil {
		t.Fatal(err)
	}
	expectTotals(t, tally, 1, 0, 2)
	for range 2 { // a second time is no second delivery
		deliver(t, tally, "audit", r.events[0], nil)
	}
	deliver(t, tally, "email", r.events[0], nil)                     // not wanted there
	deliver(t, tally, "analytics", schema.Event{ID: "foreign"}, nil) // not published here
	deliver(t, tally, "analytics", r.events[0], errors.New("not now"))
	expectTotals(t, tally, 1, 1, 1)
	deliver(t, tally, "analytics", r.events[0], nil)
	expectTotals(t, tally, 1, 2, 0)
}

func TestTheTallyIsSettledWhenNothingIsMissing(t *testing.T) {
	var r recorder
	tally := newTally(&r)
	tally.settle(t.Context(), generous) // nothing was published
	if err := tally.Publish(t.Context(), userservice.NewLogout(userservice.LogoutPayload{UserID: 1})); err != nil {
		t.Fatal(err)
	}
	tally.settle(t.Context(), time.Millisecond) // patience ends
	expectTotals(t, tally, 1, 0, 2)
	go func() {
		for _, subscription := range []string{"audit", "analytics"} {
			tally.crossOut(r.events[0].ID, subscription)
		}
	}()
	tally.settle(t.Context(), generous)
	expectTotals(t, tally, 1, 2, 0)
}

func TestWhatTheBusRefusesIsMissing(t *testing.T) {
	refused := errors.New("refused")
	tally := newTally(&recorder{err: refused})
	err := tally.Emit(t.Context(), userservice.NewLogout(userservice.LogoutPayload{UserID: 1}))
	if !errors.Is(err, refused) {
		t.Fatal(err)
	}
	expectTotals(t, tally, 1, 0, 2)
}

func TestATypeThatTheTallyDoesNotKnowIsRefused(t *testing.T) {
	var r recorder
	if err := newTally(&r).Emit(t.Context(), schema.Event{Type: "order.placed"}); err == nil || len(r.events) > 0 {
		t.Fatalf("published %d, err %v", len(r.events), err)
	}
}
