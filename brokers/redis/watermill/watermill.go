// Package watermill lets redis+stream:// write and read the entries of
// github.com/ThreeDotsLabs/watermill-redisstream, so that services which still run Watermill stay peers. Import it
// for its side effect, and open a URL with format=watermill:
//
//	import _ "github.com/eventbus-go/eventbus/brokers/redis/watermill"
//
//	bus.Open(ctx, "redis+stream://localhost:6379?format=watermill")
//
// The stream of a channel has the channel's name, which is Watermill's topic. A message's body is the payload, and
// its id the UUID. The rest is metadata: eventbus_type, eventbus_key,
// eventbus_priority, eventbus_time and eventbus_not_before where the message has them, and its headers under their
// own names. Metadata has no order and no repetition, so that where there is more than one header, eventbus_headers
// has them all, as a query string is encoded. What a Watermill publisher put into the metadata arrives as headers,
// sorted by name.
//
// It is a package of its own because the marshaller of watermill-redisstream comes with Watermill and seven other
// modules, which a service that does not ask for the format need not link.
package watermill

import (
	"errors"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill-redisstream/pkg/redisstream"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/brokers/redis"
)

func init() { redis.RegisterFormat("watermill", format{}) }

// What the metadata has beside headers.
const (
	ours         = "eventbus_"
	metaType     = ours + "type"
	metaKey      = ours + "key"
	metaPriority = ours + "priority"
	metaTime     = ours + "time"
	metaNotSoon  = ours + "not_before"
	metaHeaders  = ours + "headers"
)

// format is Watermill's.
type format struct{}

var marshaller redisstream.DefaultMarshallerUnmarshaller

// Key is the topic itself, as Watermill has it.
func (format) Key(channel string) string { return channel }

// Channel takes each stream for a topic.
func (format) Channel(key string) (string, bool) { return key, true }

// Fields marshals m.
func (format) Fields(m *brokers.Message) ([]redis.Field, error) {
	msg := &message.Message{UUID: m.ID, Payload: m.Body, Metadata: metadata(m)}
	values, err := marshaller.Marshal(m.Channel, msg)
	if err != nil {
		return nil, err
	}
	out := make([]redis.Field, 0, len(values))
	for name, value := range values {
		switch v := value.(type) {
		case string:
			out = append(out, redis.Field{Name: name, Value: v})
		case []byte:
			out = append(out, redis.Field{Name: name, Value: string(v)})
		default:
			return nil, errors.New("watermill-redisstream marshals to something that is neither text nor bytes")
		}
	}
	slices.SortFunc(out, func(a, b redis.Field) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

func metadata(m *brokers.Message) message.Metadata {
	md := make(message.Metadata, 5+len(m.Headers))
	set := func(name, value string) {
		if value != "" {
			md[name] = value
		}
	}
	for _, h := range m.Headers {
		if _, repeated := md[h.Key]; !repeated {
			md[h.Key] = h.Value
		}
	}
	if len(m.Headers) > 1 {
		md[metaHeaders] = encode(m.Headers)
	}
	set(metaType, m.Type)
	set(metaKey, m.Key)
	if m.Priority != 0 {
		set(metaPriority, strconv.Itoa(int(m.Priority)))
	}
	set(metaTime, timeText(m.Time))
	set(metaNotSoon, timeText(m.NotBefore))
	return md
}

func timeText(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

// encode writes headers in their order, which url.Values would not.
func encode(headers []brokers.Header) string {
	parts := make([]string, len(headers))
	for i, h := range headers {
		parts[i] = url.QueryEscape(h.Key) + "=" + url.QueryEscape(h.Value)
	}
	return strings.Join(parts, "&")
}

func decode(text string) (headers []brokers.Header, err error) {
	for part := range strings.SplitSeq(text, "&") {
		key, value, _ := strings.Cut(part, "=")
		k, err1 := url.QueryUnescape(key)
		v, err2 := url.QueryUnescape(value)
		if err := errors.Join(err1, err2); err != nil {
			return nil, err
		}
		headers = append(headers, brokers.Header{Key: k, Value: v})
	}
	return headers, nil
}

// Read unmarshals an entry. The marshaller asserts types that any entry has, since fields are text; what it cannot read
// is foreign, with the payload for a body where there is one.
func (format) Read(m *brokers.Message, fields []redis.Field) error {
	values := make(map[string]any, len(fields))
	for _, f := range fields {
		values[f.Name] = f.Value
	}
	if payload, ok := values["payload"].(string); ok {
		m.Body = []byte(payload)
	}
	msg, err := marshaller.Unmarshal(values)
	if err != nil {
		return err
	}
	m.ID, m.Body = msg.UUID, msg.Payload
	return readMetadata(m, msg.Metadata)
}

func readMetadata(m *brokers.Message, md message.Metadata) (err error) {
	m.Type, m.Key = md[metaType], md[metaKey]
	if text := md[metaPriority]; text != "" {
		n, err := strconv.ParseInt(text, 10, 8)
		if err != nil {
			return err
		}
		m.Priority = int8(n)
	}
	if m.Time, err = readTime(md[metaTime]); err != nil {
		return err
	}
	if m.NotBefore, err = readTime(md[metaNotSoon]); err != nil {
		return err
	}
	if text := md[metaHeaders]; text != "" {
		m.Headers, err = decode(text)
		return err
	}
	for name, value := range md {
		if !strings.HasPrefix(name, ours) {
			m.Headers = append(m.Headers, brokers.Header{Key: name, Value: value})
		}
	}
	slices.SortFunc(m.Headers, func(a, b brokers.Header) int { return strings.Compare(a.Key, b.Key) })
	return nil
}

func readTime(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	return time.Parse(time.RFC3339Nano, text)
}
