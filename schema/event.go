package schema

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"
)

// An Event is one thing that happened, as a service publishes it and as a subscriber handles it: the envelope, with the
// payload as JSON.
//
// An Event is a value: copying it is cheap, and a copy may be changed without changing the original, except that Data
// and Metadata share their bytes, which nobody modifies in place. It is safe for concurrent reading.
//
// Events are made by [Type.New], or as a literal for types that have no definition. What a literal leaves empty
// (ID, Time, Source) is filled in when it is published.
type Event struct {
	// ID is unique per event and the same on every channel, every retry and every replay. Empty means: a new UUID v7
	// when published.
	ID string
	// Type is the name in the catalogue, such as "role.assigned".
	Type string
	// Time is when it happened. The zero value means: when it is published. It is written in UTC.
	Time time.Time
	// Source is the publishing service. Empty means: the bus's own source.
	Source string
	// Priority defaults to Normal.
	Priority Priority
	// Subject is what it happened to, such as "user:123"; empty means none, and is null on the wire. See [Ref].
	Subject string
	// Actor is who did it, such as "user:1"; empty means none.
	Actor string
	// Resource is what it concerns, such as "trading_account:789"; empty means none.
	Resource string
	// Data is the payload: a JSON object. Empty means {}.
	Data json.RawMessage
	// Metadata is context: any JSON values under their keys, kept as they came.
	Metadata Metadata

	// key is the ordering key where the type defines one; see Key.
	key string
	// err is why New could not encode the payload; Validate returns it.
	err error
	// wire is what a decoded envelope held beyond the fields above; nil for events made here.
	wire *wireParts
	// checked and checkedLen say which Data is known to be right, as it was encoded by a Type or decoded: the bytes
	// from there on. Data that somebody has put in its place later is somewhere else, and is checked.
	checked    *byte
	checkedLen int
}

// wireParts is what must survive a decode and encode although the fields of an Event do not show it.
type wireParts struct {
	timeText string    // the timestamp as it came
	time     time.Time // what timeText said: a changed Event.Time wins over timeText
	extra    []byte    // the members this version does not know, each as `,"name":value`, in the order they came
}

// Key is what events are ordered by: events of one key are delivered in the order they were published, wherever the
// broker keeps an order at all. It is the key that the event's type defines, else the subject, else the id.
func (e *Event) Key() string {
	switch {
	case e.key != "":
		return e.key
	case e.Subject != "":
		return e.Subject
	default:
		return e.ID
	}
}

// WithKey returns a copy of e that is ordered by key instead of by its subject. The key is not part of the envelope:
// it travels beside it, on the brokers that have a place for one.
func (e Event) WithKey(key string) Event {
	e.key = key
	return e
}

// ParseRef is the inverse of [Ref]: of "user:123" it returns "user" and 123. ok is false where ref is no such reference.
func ParseRef(ref string) (kind string, id int64, ok bool) {
	kind, number, ok := strings.Cut(ref, ":")
	if !ok || kind == "" {
		return "", 0, false
	}
	id, err := strconv.ParseInt(number, 10, 64)
	if err != nil || Ref(kind, id) != ref { // 007 and +7 are not how Ref writes 7
		return "", 0, false
	}
	return kind, id, true
}

// Ref makes a reference as subjects, actors and resources use it: Ref("user", 123) is "user:123".
func Ref(kind string, id int64) string {
	b := make([]byte, 0, 48)
	b = append(b, kind...)
	b = append(b, ':')
	b = strconv.AppendInt(b, id, 10)
	return string(b)
}
