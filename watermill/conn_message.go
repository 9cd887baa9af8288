package watermill

import (
	"bytes"
	"context"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/eventbus-go/eventbus/brokers"
)

// keyHeaders has the headers of a message in their order, where metadata, which has neither an order nor a key twice, would
// lose something.
const keyHeaders = "eventbus_headers"

// toWatermill copies a message of ours into one of Watermill's.
func toWatermill(ctx context.Context, m *brokers.Message) *message.Message {
	msg := message.NewMessageWithContext(ctx, m.ID, bytes.Clone(m.Body))
	for _, h := range slices.Backward(m.Headers) { // so that the first one of a key counts
		if !slices.Contains(reserved, h.Key) {
			msg.Metadata[h.Key] = h.Value
		}
	}
	if !orderly(m.Headers) {
		msg.Metadata[keyHeaders] = inOrder(m.Headers)
	}
	setField(msg.Metadata, MetadataType, m.Type)
	setField(msg.Metadata, MetadataKey, m.Key)
	setField(msg.Metadata, MetadataPriority, priorityText(m.Priority))
	setField(msg.Metadata, MetadataTime, timeText(m.Time))
	return msg
}

// orderly reports whether headers are what the keys of a map, sorted, give back.
func orderly(headers []brokers.Header) bool {
	for i, h := range headers {
		if i > 0 && headers[i-1].Key >= h.Key || slices.Contains(reserved, h.Key) || h.Key == keyHeaders {
			return false
		}
	}
	return true
}

// inOrder writes headers as a URL's query has its parameters.
func inOrder(headers []brokers.Header) string {
	var b strings.Builder
	for i, h := range headers {
		if i > 0 {
			b.WriteByte('&')
		}
		b.WriteString(url.QueryEscape(h.Key) + "=" + url.QueryEscape(h.Value))
	}
	return b.String()
}

// fromWatermill is the inverse of toWatermill for a message of the channel.
func fromWatermill(channel string, msg *message.Message) brokers.Message {
	md := msg.Metadata
	m := brokers.Message{
		ID: msg.UUID, Channel: channel, Type: md[MetadataType], Key: md[MetadataKey], Time: timeOf(md),
		Body: msg.Payload,
	}
	if p, ok := priorityOf(md[MetadataPriority]); ok {
		m.Priority = p
	}
	m.Headers = headersFrom(md)
	return m
}

func headersFrom(md message.Metadata) []brokers.Header {
	var out []brokers.Header
	if list, ok := md[keyHeaders]; ok {
		for pair := range strings.SplitSeq(list, "&") {
			k, v, _ := strings.Cut(pair, "=")
			key, err1 := url.QueryUnescape(k)
			value, err2 := url.QueryUnescape(v)
			if err1 == nil && err2 == nil {
				out = append(out, brokers.Header{Key: key, Value: value})
			}
		}
		return out
	}
	for _, k := range slices.Sorted(maps.Keys(md)) {
		if !slices.Contains(reserved, k) {
			out = append(out, brokers.Header{Key: k, Value: md[k]})
		}
	}
	return out
}
