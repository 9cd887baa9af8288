package bus

import (
	"context"
	"fmt"

	"github.com/eventbus-go/eventbus/router"
	"github.com/eventbus-go/eventbus/schema"
)

// A TypedHandler handles the events of one type, with the payload decoded. Make it with [On].
type TypedHandler struct {
	eventType string
	handle    router.Handler
}

// On makes a handler for events of type t. A payload that does not decode into T fails the event for good, without a
// retry and without calling f. See [router.Handler] for what f's error says.
func On[T any](t *schema.Type[T], f func(ctx context.Context, e schema.Event, payload T) error) TypedHandler {
	return TypedHandler{
		eventType: t.Name(),
		handle: func(ctx context.Context, e schema.Event) error {
			payload, err := t.Decode(e)
			if err != nil {
				return router.Permanent(err)
			}
			return f(ctx, e, payload)
		},
	}
}

// dispatch returns one handler for several typed ones. What has no handler although Events asks for it fails for good.
func dispatch(handlers []TypedHandler) router.Handler {
	byType := make(map[string]router.Handler, len(handlers))
	for _, h := range handlers {
		byType[h.eventType] = h.handle
	}
	return func(ctx context.Context, e schema.Event) error {
		h, ok := byType[e.Type]
		if !ok {
			return router.Permanent(fmt.Errorf("no handler for %s: add one with bus.On, or narrow Events", e.Type))
		}
		return h(ctx, e)
	}
}
