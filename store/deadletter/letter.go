package deadletter

import (
	"crypto/sha256"
	"encoding/hex"
	"time"
)

// A Letter is an event, or what arrived instead of one, that a subscription gave up on.
type Letter struct {
	// ID is the same for every failure of one event of one channel in one subscription: a later failure replaces the letter
	// of an earlier one. See [Letter.SetID].
	ID string `json:"id"`
	// Rev is new each time the letter is written.
	Rev string `json:"rev"`

	Subscription string `json:"subscription"`
	Channel      string `json:"channel"`
	// Broker is the scheme of the broker's URL, such as "redis".
	Broker string `json:"broker"`
	// BrokerName is its name in the configuration, where there are several.
	BrokerName string `json:"broker_name,omitempty"`
	// Position is where the broker had it, for logs.
	Position string `json:"position,omitempty"`

	// EventID, EventType, Key, Priority and Time are the event's; empty where what arrived is none.
	EventID   string    `json:"event_id,omitempty"`
	EventType string    `json:"event_type,omitempty"`
	Key       string    `json:"key,omitempty"`
	Priority  int8      `json:"priority,omitempty"`
	Time      time.Time `json:"time,omitzero"`
	// Trace is the traceparent of the event's metadata, as W3C Trace Context writes it.
	Trace string `json:"trace,omitempty"`

	// Body is what arrived, byte for byte, or its beginning where it was too large. Size is the full size in bytes.
	Body []byte `json:"body"`
	Size int    `json:"size"`

	// Reason says in a word why: one of the Reason constants.
	Reason string `json:"reason"`
	// Error is the text of the last attempt's error, at most 4 KiB of it.
	Error string `json:"error"`
	// Fingerprint is the same for errors of one cause; see [Fingerprint].
	Fingerprint string `json:"fingerprint"`
	// Attempts is how often the event was tried, and History the attempts that are known, the last one included.
	Attempts int       `json:"attempts"`
	History  []Attempt `json:"history,omitempty"`
	// KeepOrder says that the letter stands in a line: see [LineStore].
	KeepOrder bool `json:"keep_order,omitempty"`
	// First and Last are when the first and the last known attempt failed.
	First time.Time `json:"first"`
	Last  time.Time `json:"last"`
}

// An Attempt is one that failed.
type Attempt struct {
	Number int       `json:"number"`
	At     time.Time `json:"at"`
	Error  string    `json:"error"`
}

// Why a letter was written.
const (
	ReasonFailed    = "failed"    // the attempts were used up, or the handler said that none would help
	ReasonMalformed = "malformed" // it is no event
	ReasonPanic     = "panic"     // the last attempt panicked, or ended its goroutine
	ReasonStuck     = "stuck"     // the last attempt did not end when its time was over
	ReasonBreaker   = "breaker"   // it has failed under an open breaker for as long as its policy allows
	ReasonBehind    = "behind"    // it was not tried: an earlier event of its key is a dead letter, see [LineStore]
)

// SetID gives l the id of its event, channel and subscription; of what is no event, that of its bytes.
func (l *Letter) SetID() {
	what := l.EventID
	if what == "" {
		what = "\x00" + string(l.Body)
	}
	h := sha256.New()
	for _, s := range []string{l.Subscription, l.Channel, what} {
		h.Write([]byte(s))
		h.Write([]byte{0})
	}
	l.ID = hex.EncodeToString(h.Sum(nil)[:12])
}

// Whole reports whether Body is all of what arrived, so that it can be sent again.
func (l *Letter) Whole() bool { return l.Size <= len(l.Body) }

// WatermillKeys returns what Watermill's PoisonQueue sets in a message's metadata, for its tools and habits.
func (l *Letter) WatermillKeys() map[string]string {
	return map[string]string{
		"reason_poisoned": l.Error, "topic_poisoned": l.Channel, "handler_poisoned": l.Subscription,
		"subscriber_poisoned": l.Broker,
	}
}
