package bus

import (
	"context"

	"github.com/eventbus-go/eventbus/router"
	"github.com/eventbus-go/eventbus/schema"
)

// A Decoded is an event of a batch with its payload.
type Decoded[T any] struct {
	schema.Event
	Payload T
}

// OnBatch makes a [BatchHandler] for events of type t, which its subscription has to ask for in Events. A payload that does not decode
// into T, and an event of another type, fails for good, without a retry, and is not handed to f; where none is left f is not called.
// f's result has an error for each event that it was given, as that of a BatchHandler.
func OnBatch[T any](t *schema.Type[T], f func(ctx context.Context, batch []Decoded[T]) []error) BatchHandler {
	return func(ctx context.Context, events []schema.Event) []error {
		errs := make([]error, len(events))
		batch, places := make([]Decoded[T], 0, len(events)), make([]int, 0, len(events))
		for i, e := range events {
			payload, err := t.Decode(e)
			if err != nil {
				errs[i] = router.Permanent(err)
				continue
			}
			batch, places = append(batch, Decoded[T]{e, payload}), append(places, i)
		}
		if len(batch) == 0 {
			return errs
		}
		spread(errs, places, f(ctx, batch))
		return errs
	}
}

// spread puts what a handler returned of some events of a batch in their places.
func spread(errs []error, places []int, got []error) {
	wrong := wrongLength(len(places), got)
	for i, place := range places {
		switch {
		case wrong != nil:
			errs[place] = wrong
		case len(got) > 0:
			errs[place] = got[i]
		}
	}
}
