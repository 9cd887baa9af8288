package rabbitmq

import (
	"cmp"
	"slices"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/eventbus-go/eventbus/brokers"
)

// The headers that carry what the protocol's own properties cannot. What a publisher's own headers are called is left as it
// is, unless it begins with a reserved prefix: those steer the server and this package, and are carried behind headerOther.
const (
	headerKey      = "eb-key"
	headerID       = "eb-id"       // where it is too long for a property
	headerType     = "eb-type"     // likewise
	headerPriority = "eb-priority" // where it is none of 0 to 9
	headerTime     = "eb-time"     // nanoseconds since the epoch: the property has seconds only
	headerOrder    = "eb-order"    // the names of the publisher's headers, in order, where there are several
	headerOther    = "eb-h-"

	// Of copies that wait for their redelivery:
	headerChannel = "eb-channel" // where it was published, since its routing key is a queue now
	headerTried   = "eb-tried"   // attempts that were made
	// When it may be delivered, and how late is no matter; nanoseconds since the epoch.
	headerFrom, headerBy = "eb-not-before", "eb-not-after"
	headerLeft           = "eb-left" // nanoseconds that are left when it comes out of the queue in which it waits
)

var reservedPrefixes = []string{"eb-", "x-"}

const (
	// maxShort is the length of the longest text that a property can hold.
	maxShort = 255
	// maxFields bounds what the fields of a message take, which have to fit into one frame.
	maxFields = frameSize - (8 << 10)
)

// write returns m as the client wants it, or why it can never be sent.
func write(m *brokers.Message, now time.Time) (amqp.Publishing, error) {
	p := amqp.Publishing{DeliveryMode: amqp.Persistent, Body: m.Body}
	size := len(m.Key) + len(m.ID) + len(m.Type) + 256
	table := make(amqp.Table, 4)
	if p.MessageId = m.ID; len(m.ID) > maxShort {
		p.MessageId, table[headerID] = "", m.ID
	}
	if p.Type = m.Type; len(m.Type) > maxShort {
		p.Type, table[headerType] = "", m.Type
	}
	if m.Key != "" {
		table[headerKey] = m.Key
	}
	if m.Priority >= 0 && m.Priority <= 9 {
		p.Priority = uint8(m.Priority)
	} else {
		table[headerPriority] = int32(m.Priority)
	}
	if !m.Time.IsZero() {
		p.Timestamp = m.Time
		if m.Time.Nanosecond() != 0 {
			table[headerTime] = brokers.UnixNano(m.Time)
		}
	}
	if !m.NotBefore.IsZero() && m.NotBefore.After(now) {
		table[headerFrom], table[headerBy] = waiting(now, m.NotBefore)
	}
	size += writeOthers(table, m.Headers)
	p.Headers = table
	if size > maxFields {
		return p, headersTooLong{size}
	}
	return p, nil
}

// writeOthers adds the publisher's own headers and returns their size. A name that repeats is a list of its values. AMQP
// keeps no order of names; where there are several, it is a header of its own.
func writeOthers(table amqp.Table, headers []brokers.Header) (size int) {
	if len(headers) == 0 {
		return 0
	}
	order := make([]string, len(headers))
	for i, h := range headers {
		order[i] = h.Key
		size += 2*len(h.Key) + len(h.Value) + 16
		name := otherName(h.Key)
		switch old := table[name].(type) {
		case nil:
			table[name] = h.Value
		case string:
			table[name] = []any{old, h.Value}
		case []any:
			table[name] = append(old, h.Value)
		}
	}
	if len(headers) > 1 {
		table[headerOrder] = strings.Join(order, ",")
	}
	return size
}

func otherName(key string) string {
	for _, prefix := range reservedPrefixes {
		if len(key) >= len(prefix) && strings.EqualFold(key[:len(prefix)], prefix) {
			return headerOther + key
		}
	}
	if key == "CC" || key == "BCC" { // the server would send copies to the queues that they name
		return headerOther + key
	}
	return key
}

// read sets what an entry of a queue says of a delivery. What no driver of ours wrote is left out. A body over maxBytes is
// copied in part, so that the whole of it is not held.
func read(d *brokers.Delivery, m *amqp.Delivery, maxBytes int) {
	h := m.Headers
	d.ID = cmp.Or(m.MessageId, text(h, headerID))
	d.Type = cmp.Or(m.Type, text(h, headerType))
	d.Key = text(h, headerKey)
	if d.Priority = int8(min(m.Priority, 127)); h[headerPriority] != nil {
		d.Priority = int8(number(h, headerPriority))
	}
	if ns := number(h, headerTime); ns != 0 {
		d.Time = time.Unix(0, ns).UTC()
	} else if !m.Timestamp.IsZero() {
		d.Time = m.Timestamp.UTC()
	}
	d.Headers = readOthers(h)
	d.Body = m.Body
	if n := len(m.Body); maxBytes > 0 && n > maxBytes {
		d.Body = append([]byte(nil), m.Body[:min(tooLargeKept, maxBytes)]...)
		d.Malformed, d.Size = brokers.ReasonTooLarge, n
	}
}

// tooLargeKept is how many bytes are kept of a body that is over Subscription.MaxBytes.
const tooLargeKept = 4 << 10

// readOthers returns the publisher's own headers, in the order in which they were.
func readOthers(h amqp.Table) []brokers.Header {
	var names []string
	for name := range h {
		if _, is := otherKey(name); is {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	var out []brokers.Header
	next := make(map[string]int, len(names))
	take := func(key string) {
		values := texts(h[otherName(key)])
		if i := next[key]; i < len(values) {
			out = append(out, brokers.Header{Key: key, Value: values[i]})
			next[key]++
		}
	}
	if order := text(h, headerOrder); order != "" {
		for key := range strings.SplitSeq(order, ",") {
			take(key)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		key, _ := otherKey(name)
		for range texts(h[name]) {
			take(key)
		}
	}
	return out
}

// otherKey returns the key under which a publisher set the header name, and false for one of ours or the server's.
func otherKey(name string) (string, bool) {
	if key, ok := strings.CutPrefix(name, headerOther); ok {
		return key, true
	}
	return name, otherName(name) == name
}

// texts returns the values of a header. Those that are no texts, which only foreign clients send, are left out.
func texts(v any) []string {
	switch v := v.(type) {
	case string:
		return []string{v}
	case []any:
		var out []string
		for _, one := range v {
			if s, ok := one.(string); ok {
				out = append(out, s)
			}
		}
		return out
	}
	return nil
}

func text(h amqp.Table, name string) string {
	s, _ := h[name].(string)
	return s
}

// number reads an integer of whatever width it was sent with.
func number(h amqp.Table, name string) int64 {
	switch v := h[name].(type) {
	case int64:
		return v
	case int32:
		return int64(v)
	case int16:
		return int64(v)
	case int8:
		return int64(v)
	case uint8:
		return int64(v)
	case uint16:
		return int64(v)
	case uint32:
		return int64(v)
	}
	return 0
}
