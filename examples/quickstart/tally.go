package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/router"
	"github.com/eventbus-go/eventbus/schema"
)

// wanted says, by event type, which subscriptions have to handle an event. It is written by hand from what each
// subscriber is for, and not derived from how the subscribers subscribe: otherwise a mistake there would not be
// noticed here.
var wanted = map[string][]string{
	"user.registered":     {"email", "audit", "analytics"},
	"user.updated":        {"audit", "analytics"},
	"user.deactivated":    {"audit", "analytics"},
	"preferences.updated": {"audit", "analytics"},
	"session.created":     {"audit", "analytics"},
	"session.revoked":     {"audit", "analytics"},
	"login.success":       {"audit", "analytics"},
	"login.failed":        {"security", "audit", "analytics"},
	"logout":              {"audit", "analytics"},
	"role.assigned":       {"security", "authorisation", "audit", "analytics"},
	"role.revoked":        {"authorisation", "audit", "analytics"},
	"mfa.enabled":         {"email", "audit", "analytics"},
	"mfa.disabled":        {"security", "audit", "analytics"},
}

// A tally finds out what got lost, on its own: it writes down each event as the services publish it, and crosses it
// out as each subscriber has handled it. It stands at both ends, and takes no word of what is between them: not of
// the bus, nor of its statistics.
//
// A service would have no such thing. This is how the example checks what the bus promises.
type tally struct {
	next bus.Publisher

	mu        sync.Mutex
	published int
	delivered int
	missing   map[string][]string // by event id, the subscriptions that have not handled it yet
	complete  chan struct{}       // closed while nothing is missing
}

func newTally(next bus.Publisher) *tally {
	t := &tally{next: next, missing: make(map[string][]string), complete: make(chan struct{})}
	close(t.complete)
	return t
}

// Emit implements bus.Publisher.
func (t *tally) Emit(ctx context.Context, events ...schema.Event) error {
	return t.record(events, func(events []schema.Event) error { return t.next.Emit(ctx, events...) })
}

// Publish implements bus.Publisher.
func (t *tally) Publish(ctx context.Context, events ...schema.Event) error {
	return t.record(events, func(events []schema.Event) error { return t.next.Publish(ctx, events...) })
}

// record writes events down before they are published, since they may be handled before that has returned.
func (t *tally) record(events []schema.Event, publish func([]schema.Event) error) error {
	events = slices.Clone(events)
	for i := range events {
		events[i].ID = schema.NewID() // the bus would give them one, but then we would not know it
		if err := t.expect(events[i]); err != nil {
			return err
		}
	}
	return publish(events)
}

// expect writes one event down.
func (t *tally) expect(e schema.Event) error {
	subscriptions, known := wanted[e.Type]
	if !known {
		return fmt.Errorf("the tally does not know who wants %s: add it to its table", e.Type)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.missing) == 0 {
		t.complete = make(chan struct{})
	}
	t.missing[e.ID] = slices.Clone(subscriptions)
	t.published++
	return nil
}

// handled crosses out what a subscription has handled. Events of other publishers on the same broker are none of its
// business.
func (t *tally) handled(subscription string) router.Middleware {
	return func(next router.Handler) router.Handler {
		return func(ctx context.Context, e schema.Event) error {
			err := next(ctx, e)
			if err == nil {
				t.crossOut(e.ID, subscription)
			}
			return err
		}
	}
}

func (t *tally) crossOut(id, subscription string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	i := slices.Index(t.missing[id], subscription)
	if i < 0 {
		return
	}
	t.delivered++
	t.missing[id] = slices.Delete(t.missing[id], i, i+1)
	if len(t.missing[id]) > 0 {
		return
	}
	if delete(t.missing, id); len(t.missing) == 0 {
		close(t.complete)
	}
}

// settle waits until nothing is missing any more, but no longer than patience.
func (t *tally) settle(ctx context.Context, patience time.Duration) {
	t.mu.Lock()
	complete := t.complete
	t.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	select {
	case <-complete:
	case <-ctx.Done():
	}
}

// totals returns how many events were published, how many deliveries were handled, and how many are missing.
func (t *tally) totals() (published, delivered, lost int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for subscriptions := range maps.Values(t.missing) {
		lost += len(subscriptions)
	}
	return t.published, t.delivered, lost
}

// swallow keeps the first n deliveries from their handler, behind the back of the bus: a loss for the tally to find.
func swallow(out *console, n int) router.Middleware {
	var mu sync.Mutex
	return func(next router.Handler) router.Handler {
		return func(ctx context.Context, e schema.Event) error {
			mu.Lock()
			swallowed := n > 0
			n--
			mu.Unlock()
			if !swallowed {
				return next(ctx, e)
			}
			out.effect("-drop", "swallowed a delivery of %s", e.Type)
			return nil
		}
	}
}
