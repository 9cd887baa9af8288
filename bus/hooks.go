package bus

import (
	"bytes"
	"slices"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/schema"
)

// Hooks are told of what went wrong, each as it happens; any of them may be nil. A panic in a hook is contained, counted
// and logged.
type Hooks struct {
	// Dropped is told of each message that was accepted and then given up or rejected. It runs on a goroutine of its own
	// with a queue of 1,024, so that a slow hook never slows Emit; what does not fit is counted in Stats.HooksMissed.
	Dropped func(Dropped)
	// Malformed is told of each delivery that is not an event. It runs on a handler's goroutine, which it holds up.
	Malformed func(Malformed)
	// Failed is told of each event whose handler gave up on it, before its dead letter is written. It runs on a handler's
	// goroutine, which it holds up.
	Failed func(Failed)
	// Gap is told of each interval in which a subscription may have missed messages. It runs on the goroutine that
	// receives, which it holds up.
	Gap func(Gap)
	// Breaker is told of each change of a subscription's breaker, in order. It runs on a handler's goroutine, which it holds up, or
	// on a timer's.
	Breaker func(BreakerChange)
}

// BreakerChange is a change of a subscription's breaker.
type BreakerChange struct {
	Subscription string
	From, To     BreakerState
	// Err is the failure by which it opened, and EventID is whose that was; it is empty for a handler that was given up as stuck.
	Err     error
	EventID string
	// Trials is how many times that event has failed in a row, this time included, without using up an attempt, and Since is when it
	// first did. Where one event has nearly all the trials it is the event, and not an outage.
	Trials int
	Since  time.Time
}

// Dropped is a message that was given up. Its message is a copy that the hook may keep, and may give to [Bus.Send].
type Dropped struct {
	Message brokers.Message
	Reason  DropReason
	// Err is what the broker or the context said, or nil.
	Err error
}

// Malformed is a delivery that is not an event.
type Malformed struct {
	Subscription string
	Channel      string
	Position     string
	Reason       brokers.Reason
	// Body is what arrived, or its beginning where it was too large. The hook may keep it.
	Body []byte
	// Size is the full size in bytes.
	Size int
	Err  error
}

// Failed is an event that a subscription's handler gave up on.
type Failed struct {
	Subscription string
	Channel      string
	Event        schema.Event
	// Attempts is the number of the last one, those before a redelivery included as far as they are known.
	Attempts int
	// Err is the last attempt's error.
	Err error
}

// Gap is an interval in which a subscription may have missed messages.
type Gap struct {
	Subscription string
	// Broker is the name of the broker that they may have been missed on, where the bus has several.
	Broker       string
	Since, Until time.Time
	Reason       string
	// Missed is how many, or -1 where nobody can know.
	Missed int64
	Err    error
}

// dropped copies a message of an entry for the hook.
func dropped(broker string, reason DropReason, e *entry, channel string, err error) Dropped {
	m := brokers.Message{
		Broker: broker,
		ID:     e.id, Type: e.typ, Channel: channel, Key: e.key, Priority: int8(e.priority), KeyInBody: e.keyInBody,
		Time: e.when, Body: bytes.Clone(e.body),
	}
	if e.rest != nil {
		m.Headers, m.NotBefore = slices.Clone(e.rest.headers), e.rest.notBefore
	}
	return Dropped{Message: m, Reason: reason, Err: err}
}
