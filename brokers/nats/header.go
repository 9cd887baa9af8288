package nats

import (
	"net/url"
	"slices"
	"strconv"
	"strings"

	natsgo "github.com/nats-io/nats.go"

	"github.com/eventbus-go/eventbus/brokers"
)

// The headers that carry a message's fields. What a publisher's own headers are called is left as it is, unless it begins
// with a reserved prefix: those steer the server and this package, and are carried behind headerOther.
const (
	headerID        = "Eb-Id"
	headerType      = "Eb-Type"
	headerKey       = "Eb-Key"
	headerPriority  = "Eb-Priority"
	headerNotBefore = "Eb-Not-Before"
	headerOrder     = "Eb-Order"
	headerOther     = "Eb-H-"
	headerMsgID     = "Nats-Msg-Id"
)

var reservedPrefixes = []string{"eb-", "nats-"}

// escaped marks a value that a header cannot hold as it is, such as one that ends in a space.
const escaped = "=?pct?"

// A headerMode is which of a message's fields travel as headers; its own headers do with each of them.
type headerMode uint8

const (
	headersNeeded headerMode = iota // the key where it is not in the body; what the broker itself acts on
	headersAll                      // each field that the message has
	headersNone                     // none but what the broker itself acts on
)

// headerModes are the values of the parameter headers.
var headerModes = map[string]headerMode{"needed": headersNeeded, "all": headersAll, "none": headersNone}

// A headerWriter turns the fields of one message after the other into headers, in memory that it uses again.
type headerWriter struct {
	header natsgo.Header
	slots  [8][1]string
	used   int
}

// set adds a field, unless it is empty.
func (w *headerWriter) set(key, value string) {
	if value == "" {
		return
	}
	slot := &w.slots[w.used]
	w.used++
	slot[0] = escape(value)
	w.header[key] = slot[:]
}

// reset forgets the last message's headers.
func (w *headerWriter) reset() {
	switch {
	case w.header == nil:
		w.header = make(natsgo.Header)
	case len(w.header) > 0:
		clear(w.header)
	}
	w.used = 0
}

// write returns m's headers, valid until the next call, nil where it needs none. What the broker acts on is added by the
// caller.
func (w *headerWriter) write(m *brokers.Message, mode headerMode) natsgo.Header {
	w.reset()
	switch mode {
	case headersAll:
		w.set(headerID, m.ID)
		w.set(headerType, m.Type)
		w.set(headerKey, m.Key)
		if m.Priority != 0 {
			w.set(headerPriority, strconv.Itoa(int(m.Priority)))
		}
	case headersNeeded:
		if !m.KeyInBody {
			w.set(headerKey, m.Key)
		}
	}
	if len(m.Headers) > 0 {
		w.others(m.Headers)
	}
	return w.header
}

// others adds the publisher's own headers. NATS keeps the order of one key's values only; where there are several keys,
// their order is a header of its own.
func (w *headerWriter) others(headers []brokers.Header) {
	several := false
	order := make([]string, len(headers))
	for i, h := range headers {
		name := otherName(h.Key)
		w.header[name] = append(w.header[name], escape(h.Value))
		order[i] = h.Key
		several = several || h.Key != headers[0].Key
	}
	if several {
		w.set(headerOrder, strings.Join(order, ","))
	}
}

func otherName(key string) string {
	for _, prefix := range reservedPrefixes {
		if len(key) >= len(prefix) && strings.EqualFold(key[:len(prefix)], prefix) {
			return headerOther + key
		}
	}
	return key
}

// readFields sets m's fields to what the headers say of them. What no driver of ours wrote is left out.
func readFields(m *brokers.Message, h natsgo.Header) {
	if len(h) == 0 {
		return
	}
	if m.ID = value(h, headerID); m.ID == "" {
		m.ID = strings.TrimSuffix(value(h, headerMsgID), "|"+m.Channel)
	}
	m.Type, m.Key = value(h, headerType), value(h, headerKey)
	if text := value(h, headerPriority); text != "" {
		if n, err := strconv.ParseInt(text, 10, 8); err == nil {
			m.Priority = int8(n)
		}
	}
	m.Headers = readOthers(h)
}

// readOthers returns the publisher's own headers, in the order in which they were.
func readOthers(h natsgo.Header) []brokers.Header {
	var out []brokers.Header
	own := 0
	for name := range h {
		if name == headerMsgID || name == headerType || name == headerKey {
			continue // the usual ones
		}
		if _, is := otherKey(name); is {
			own++
		}
	}
	if own == 0 {
		return nil
	}
	next := make(map[string]int, own)
	take := func(key string) {
		name := otherName(key)
		if values := h[name]; next[key] < len(values) {
			out = append(out, brokers.Header{Key: key, Value: unescape(values[next[key]])})
			next[key]++
		}
	}
	if order := value(h, headerOrder); order != "" {
		for key := range strings.SplitSeq(order, ",") {
			take(key)
		}
	}
	for _, name := range sortedNames(h) {
		if key, is := otherKey(name); is {
			for range h[name] {
				take(key)
			}
		}
	}
	return out
}

func sortedNames(h natsgo.Header) []string {
	names := make([]string, 0, len(h))
	for name := range h {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// otherKey returns the key under which a publisher set the header name, and false for one of ours or the server's.
func otherKey(name string) (string, bool) {
	if key, ok := strings.CutPrefix(name, headerOther); ok {
		return key, true
	}
	return name, otherName(name) == name && name != "Status" && name != "Description"
}

func value(h natsgo.Header, name string) string {
	if v := h[name]; len(v) > 0 {
		return unescape(v[0])
	}
	return ""
}

// escape returns a value that arrives as it was sent: the client cuts spaces off and replaces line breaks.
func escape(s string) string {
	if s == "" {
		return s
	}
	if plain(s[0]) && plain(s[len(s)-1]) && !strings.ContainsAny(s, "\r\n\x00") && !strings.HasPrefix(s, escaped) {
		return s
	}
	return escaped + url.PathEscape(s)
}

func plain(c byte) bool { return c > ' ' && c != 0x7f }

func unescape(s string) string {
	text, is := strings.CutPrefix(s, escaped)
	if !is {
		return s
	}
	if out, err := url.PathUnescape(text); err == nil {
		return out
	}
	return s
}
