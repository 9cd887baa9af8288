package watermill

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill/components/delay"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/schema"
)

// A Format says how a Watermill message lies on one of our brokers. Reading recognises both, so that publishers of a
// channel need not agree.
type Format uint8

const (
	// FormatAuto is FormatEnvelope on a broker that promises neither durability nor groups (redis://, nats://), since those may
	// carry nothing beside the body, and FormatHeaders on all others. It is the default.
	FormatAuto Format = iota
	// FormatHeaders: the payload is the body as it is, metadata and UUID travel beside it. On a broker that carries
	// nothing beside the body, which of ours is redis://, metadata and UUID are lost.
	FormatHeaders
	// FormatEnvelope: the body is an event of ours, of the type "watermill.json" where the payload is a JSON object,
	// which is then its data, else "watermill.bytes" with the payload in base64. The event's id is the UUID.
	FormatEnvelope
)

// The types of events that are Watermill messages.
const (
	typeJSON  = "watermill.json"
	typeBytes = "watermill.bytes"
	// sourceName is the source of such events.
	sourceName = "watermill"
)

// resolve replaces FormatAuto by what suits the broker.
func (f Format) resolve(c brokers.Capabilities) Format {
	switch {
	case f != FormatAuto:
		return f
	case c.Durable || c.Groups:
		return FormatHeaders
	}
	return FormatEnvelope
}

// A packer turns Watermill messages into ours.
type packer struct {
	format Format
	// fresh says that a message's ID is never its UUID: the broker drops a second message of one ID, and Watermill publishes
	// a message again, UUID and all, to put it back where it came from.
	fresh bool
	delay bool // the broker promises Delay
	key   func(topic string, msg *message.Message) string
}

// pack returns msg as it is published on channel at now.
func (p *packer) pack(topic, channel string, msg *message.Message, now time.Time) (brokers.Message, error) {
	priority, ok := priorityOf(msg.Metadata[MetadataPriority])
	if !ok {
		return brokers.Message{}, fmt.Errorf("message %q: its metadata %s is %q, which is no priority (low, normal, high, critical)",
			msg.UUID, MetadataPriority, msg.Metadata[MetadataPriority])
	}
	m := brokers.Message{
		ID: msg.UUID, Type: msg.Metadata[MetadataType], Channel: channel, Priority: priority,
		Time: timeOf(msg.Metadata), Body: msg.Payload,
	}
	var uuid *string
	if p.fresh || !isID(msg.UUID) {
		m.ID, uuid = schema.NewID(), &msg.UUID
	}
	if m.Key = p.key(topic, msg); m.Key == "" {
		m.Key = m.ID
	}
	if p.delay {
		m.NotBefore = delayedUntil(msg.Metadata)
	}
	m.Headers = headersOf(msg.Metadata, uuid)
	if p.format == FormatEnvelope {
		return m, wrap(&m, now)
	}
	return m, nil
}

// isID reports whether a UUID can be the id of an event.
func isID(s string) bool {
	return s != "" && len(s) <= schema.MaxNameLen && isPlain(s) && !strings.ContainsFunc(s, func(r rune) bool {
		return r < ' ' || r == 0x7f
	})
}

// wrap makes m an event of ours that holds everything in its body.
func wrap(m *brokers.Message, now time.Time) error {
	e := schema.Event{
		ID: m.ID, Time: m.Time, Source: sourceName, Priority: schema.Priority(m.Priority), Type: typeJSON, Data: m.Body,
	}
	if e.Time.IsZero() {
		e.Time = now
	}
	if m.Key != m.ID && !slices.ContainsFunc(m.Headers, func(h brokers.Header) bool { return h.Key == MetadataKey }) {
		m.Headers = append(m.Headers, brokers.Header{Key: MetadataKey, Value: m.Key})
	}
	for _, h := range m.Headers {
		if err := e.Metadata.Set(h.Key, h.Value); err != nil {
			return fmt.Errorf("message %q: metadata %q: %w", m.ID, h.Key, err)
		}
	}
	if !looksLikeObject(m.Body) || e.Validate(nil) != nil {
		e.Type = typeBytes
		e.Data = fmt.Appendf(nil, `{"base64":%q}`, base64.StdEncoding.EncodeToString(m.Body))
	}
	if err := e.Validate(nil); err != nil {
		return fmt.Errorf("message %q: %w", m.ID, err)
	}
	body, err := e.AppendJSON(nil)
	m.Type, m.Headers, m.Body = e.Type, nil, body
	return err
}

// looksLikeObject reports whether b has the ends of a JSON object, with no space around it that an event would lose.
func looksLikeObject(b []byte) bool { return len(b) >= 2 && b[0] == '{' && b[len(b)-1] == '}' }

// A reader turns our deliveries into Watermill messages.
type reader struct {
	metadata             map[string]string
	uuid                 *string
	id                   string
	typ, key, prio, time string
	payload              []byte
}

// read returns a delivery as a Watermill message. An event that a bus published is a message too: the payload is the whole
// envelope and the UUID the event's id.
func read(d *brokers.Delivery) *message.Message {
	r := reader{id: d.ID, typ: d.Type, key: d.Key, prio: priorityText(d.Priority), time: timeText(d.Time), payload: d.Body}
	r.metadata, r.uuid = metadataOf(d.Headers)
	if d.ID == "" || d.Type == typeJSON || d.Type == typeBytes {
		r.lookInside()
	}
	uuid := cmp.Or(r.id, d.Position)
	if r.uuid != nil {
		uuid = *r.uuid
	}
	if r.key != r.id {
		setField(r.metadata, MetadataKey, r.key)
	}
	setField(r.metadata, MetadataType, r.typ)
	setField(r.metadata, MetadataPriority, r.prio)
	setField(r.metadata, MetadataTime, r.time)
	msg := message.NewMessage(uuid, r.payload)
	msg.Metadata = r.metadata
	return msg
}

// lookInside reads what is not beside the body from within, where the body is an event of ours.
func (r *reader) lookInside() {
	e, err := schema.Decode(r.payload, max(schema.DefaultMaxBytes, len(r.payload)))
	if err != nil {
		return
	}
	r.id, r.prio = e.ID, priorityText(int8(e.Priority))
	payload, ours := unwrap(&e)
	if !ours {
		r.typ, r.time = e.Type, timeText(e.Time)
		if r.key == "" {
			r.key = e.Key()
		}
		return
	}
	r.payload = payload
	r.typ, r.key, r.prio, r.time = "", "", "", "" // they are in the metadata where they were set
	headers := make([]brokers.Header, 0, e.Metadata.Len())
	for k := range e.Metadata.Keys() {
		headers = append(headers, brokers.Header{Key: k, Value: e.Metadata.Text(k)})
	}
	r.metadata, r.uuid = metadataOf(headers)
}

// unwrap returns the payload that wrap put into an event.
func unwrap(e *schema.Event) ([]byte, bool) {
	if e.Source != sourceName {
		return nil, false
	}
	switch e.Type {
	case typeJSON:
		return e.Data, true
	case typeBytes:
		var in struct {
			Base64 []byte `json:"base64"`
		}
		err := json.Unmarshal(e.Data, &in)
		return in.Base64, err == nil
	}
	return nil, false
}

// delayedUntil is the time until which Watermill's package delay keeps a message back; zero where it does not.
func delayedUntil(metadata message.Metadata) time.Time {
	at, err := time.Parse(time.RFC3339, metadata[delay.DelayedUntilKey])
	if err != nil {
		return time.Time{}
	}
	return at
}

// delayedFor is how long a message that was nacked asks to be kept back; 0 where it does not.
func delayedFor(metadata message.Metadata) time.Duration {
	d, err := time.ParseDuration(metadata[delay.DelayedForKey])
	if err != nil {
		return 0
	}
	return max(d, 0)
}
