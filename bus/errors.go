package bus

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/router"
)

// ErrClosed is what a Bus answers after Close.
var ErrClosed = errors.New("bus: closed")

// Permanent marks err as one that no retry can cure: the event fails now. See [router.Permanent].
func Permanent(err error) error { return router.Permanent(err) }

// RetryAfter asks for another attempt no sooner than after from now. See [router.RetryAfter].
func RetryAfter(err error, after time.Duration) error { return router.RetryAfter(err, after) }

// Drop settles the event without further attempts and counts it as dropped. See [router.Drop].
func Drop(err error) error { return router.Drop(err) }

// An EventError says why an event was refused before anything was sent. Stage is the name of the publishing pipeline's
// stage that refused it: enrich, validate, route or encode.
type EventError struct {
	Stage string
	Index int    // of the event in the call
	Type  string // of the event
	Err   error
}

// Error names the stage, the event and the reason.
func (e *EventError) Error() string {
	return fmt.Sprintf("bus: %s: event %d (%s): %v", e.Stage, e.Index, e.Type, e.Err)
}

// Unwrap returns the reason.
func (e *EventError) Unwrap() error { return e.Err }

// A PublishError says what became of each message of a Publish or Send of which not every message was confirmed.
type PublishError struct {
	// Outcomes has one entry per event and channel, in the order of the call, the confirmed ones included.
	Outcomes []Outcome
}

// An Outcome is what became of one event on one channel.
type Outcome struct {
	EventID   string
	EventType string
	// Broker is the name of the broker that the rules send it to, where the bus has several.
	Broker  string
	Channel string
	// State is Confirmed where the broker took it, and Unknown where it may still arrive.
	State brokers.Outcome
	// Err is why, and nil where it was confirmed.
	Err error
}

// Error counts the messages that were not confirmed and shows the first one.
func (e *PublishError) Error() string {
	failed, first := e.failed()
	where := first.Channel
	if first.Broker != "" {
		where += " of " + first.Broker
	}
	return fmt.Sprintf("bus: send: %d of %d messages not confirmed, the first one %s on %s %s: %v",
		failed, len(e.Outcomes), first.EventType, where, first.State, first.Err)
}

// Unwrap returns the errors of the messages that were not confirmed, so that errors.Is and errors.As see them.
func (e *PublishError) Unwrap() []error {
	var errs []error
	for _, o := range e.Outcomes {
		if o.Err != nil {
			errs = append(errs, o.Err)
		}
	}
	return errs
}

func (e *PublishError) failed() (n int, first Outcome) {
	for _, o := range e.Outcomes {
		if o.State == brokers.Confirmed {
			continue
		}
		if n == 0 {
			first = o
		}
		n++
	}
	return n, first
}

// A CloseError says what Close had to leave behind when its context ended.
type CloseError struct {
	// Handlers are those that had not returned, by subscription, at most 100 of each.
	Handlers []HandlerLeft
	// Dropped is how many messages were still queued; they are in the ledger and were offered to the Dropped hook.
	Dropped int64
	// Err is what the broker's Close reported, the context's error, or ErrStuck where only handlers were left that had been given up
	// before: Close does not wait for those.
	Err error
}

// Error says what was left behind.
func (e *CloseError) Error() string {
	var left []string
	if len(e.Handlers) > 0 {
		left = append(left, "handlers of "+handlersText(e.Handlers)+" had not returned")
	}
	if e.Dropped > 0 {
		left = append(left, fmt.Sprintf("%d messages were still queued and are dropped", e.Dropped))
	}
	if len(left) == 0 {
		left = append(left, "the broker did not close in time")
	}
	return fmt.Sprintf("bus: close: %s: %v", strings.Join(left, "; "), e.Err)
}

// handlersText names up to 10 handlers.
func handlersText(left []HandlerLeft) string {
	names := make([]string, 0, len(left))
	for _, h := range left[:min(len(left), 10)] {
		names = append(names, h.String())
	}
	if more := len(left) - len(names); more > 0 {
		names = append(names, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(names, ", ")
}

// Unwrap returns what ended the waiting.
func (e *CloseError) Unwrap() error { return e.Err }
