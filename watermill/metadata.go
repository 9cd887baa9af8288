package watermill

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/schema"
)

// The metadata keys that stand for fields of our messages. A Watermill publisher sets type, key and priority to set the
// field; each is in the metadata of what arrives where the field was set.
const (
	// MetadataType is the event's type, such as "role.assigned".
	MetadataType = "eventbus_type"
	// MetadataKey is what messages are ordered by, on brokers that keep an order by key.
	MetadataKey = "eventbus_key"
	// MetadataPriority is "low", "high" or "critical"; a message without it is "normal".
	MetadataPriority = "eventbus_priority"
	// MetadataChannel is the channel that a message came from. It is set where the topic of the subscription is a pattern,
	// and is not sent.
	MetadataChannel = "eventbus_channel"
	// MetadataTime is when the event happened, as RFC 3339 has it.
	MetadataTime = "eventbus_time"
)

// Keys of this package's own.
const (
	// keyUUID has the UUID of a message whose ID beside the body cannot be it.
	keyUUID = "eventbus_uuid"
	// keyPacked has pairs that cannot be headers as they are, in the encoding of a URL's query.
	keyPacked = "eventbus_packed"
)

// ours are the keys that no publisher sets.
var ours = []string{MetadataChannel, keyUUID, keyPacked}

// reserved are the keys that are fields, or this package's own.
var reserved = append([]string{MetadataType, MetadataKey, MetadataPriority, MetadataTime}, ours...)

// maxPlain is how many pairs become headers of their own. A bus takes 64 headers.
const maxPlain = 60

// headersOf turns metadata into headers, sorted by key. Pairs that no header can carry as they are, and those beyond
// maxPlain, become one header. uuid is added where it is given. Fields are headers too, since brokers differ in the
// fields that they carry.
func headersOf(metadata map[string]string, uuid *string) []brokers.Header {
	keys := make([]string, 0, len(metadata))
	for k := range metadata {
		if !slices.Contains(ours, k) {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	var out []brokers.Header
	packed := url.Values{}
	add := func(k, v string) {
		if len(out) < maxPlain && isToken(k) && isPlain(v) {
			out = append(out, brokers.Header{Key: k, Value: v})
			return
		}
		packed.Set(k, v)
	}
	if uuid != nil {
		add(keyUUID, *uuid)
	}
	for _, k := range keys {
		add(k, metadata[k])
	}
	if len(packed) > 0 {
		out = append(out, brokers.Header{Key: keyPacked, Value: packed.Encode()})
	}
	return out
}

// metadataOf is the inverse of headersOf. Of a key that is there twice, the first one counts.
func metadataOf(headers []brokers.Header) (metadata map[string]string, uuid *string) {
	metadata = make(map[string]string, len(headers))
	for _, h := range headers {
		if h.Key == keyPacked {
			unpack(metadata, h.Value)
			continue
		}
		if _, twice := metadata[h.Key]; !twice {
			metadata[h.Key] = h.Value
		}
	}
	if text, given := metadata[keyUUID]; given {
		uuid = &text
	}
	for _, k := range ours {
		delete(metadata, k)
	}
	return metadata, uuid
}

func unpack(metadata map[string]string, text string) {
	values, err := url.ParseQuery(text)
	if err != nil {
		metadata[keyPacked+"_unreadable"] = text // by nobody of ours: kept, since nothing is lost in silence
		return
	}
	for k := range values {
		metadata[k] = values.Get(k)
	}
}

// isToken reports whether s is a token of RFC 9110 and not too long, and so the key of a header on every broker.
func isToken(s string) bool {
	const others = "!#$%&'*+-.^_`|~"
	for _, r := range s {
		if !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune(others, r)) {
			return false
		}
	}
	return s != "" && len(s) <= brokers.MaxHeaderKey
}

// isPlain reports whether s may be the value of a header, and of a string in JSON.
func isPlain(s string) bool { return !strings.ContainsAny(s, "\r\n\x00") && utf8.ValidString(s) }

// priorityOf reads a priority of metadata: its name, or its number.
func priorityOf(text string) (int8, bool) {
	if text == "" {
		return 0, true
	}
	if p, err := schema.ParsePriority(text); err == nil {
		return int8(p), true
	}
	n, err := strconv.ParseInt(text, 10, 8)
	return int8(n), err == nil
}

// priorityText is the inverse; normal is "", since metadata without the key means it.
func priorityText(p int8) string {
	switch {
	case p == 0:
		return ""
	case schema.Priority(p).Valid():
		return schema.Priority(p).String()
	}
	return strconv.Itoa(int(p))
}

// setField adds a field to metadata where it has a value and is not there.
func setField(metadata map[string]string, key, value string) {
	if _, there := metadata[key]; !there && value != "" {
		metadata[key] = value
	}
}

// timeOf reads a time of metadata; zero where there is none that can be read.
func timeOf(metadata map[string]string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, metadata[MetadataTime])
	if err != nil {
		return time.Time{}
	}
	return t
}

// timeText is the inverse; the zero time is "".
func timeText(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}
