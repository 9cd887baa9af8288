package redis

import (
	"bytes"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
)

// An entryReader makes deliveries of the entries of one subscription.
type entryReader struct {
	format   Format
	maxBytes int
}

// read appends the delivery of an entry to b. What it keeps is copied out of the reply: a delivery that waits must
// not keep the whole reply in memory.
func (r *entryReader) read(b *batch, channel, key string, attempt int, e *rawEntry) {
	text := string(e.id)
	id, ok := readID(text)
	if !ok {
		return
	}
	b.ids = append(b.ids, id)
	b.deliveries = append(b.deliveries, brokers.Delivery{Attempt: attempt, Position: text})
	d := &b.deliveries[len(b.deliveries)-1]
	if r.format != nil {
		r.readForeign(d, e)
	} else {
		r.readOwn(d, e)
	}
	d.Channel = channel
}

// readOwn reads an entry of our own format.
func (r *entryReader) readOwn(d *brokers.Delivery, e *rawEntry) {
	var about, content []byte
	found := false
	for i := 0; i+1 < len(e.fields); i += 2 {
		switch string(e.fields[i]) {
		case fieldMeta:
			about = e.fields[i+1]
		case fieldBody:
			content, found = e.fields[i+1], true
		}
	}
	if n := len(content); r.maxBytes > 0 && n > r.maxBytes {
		content = content[:min(tooLargeKept, r.maxBytes)]
		d.Malformed, d.Size = brokers.ReasonTooLarge, n
	}
	if !found {
		d.Malformed = brokers.ReasonForeign
	}
	// One allocation for everything that is kept.
	kept := make([]byte, len(about)+len(content))
	copy(kept, about)
	copy(kept[len(about):], content)
	d.Body = kept[len(about):]
	if len(about) > 0 && readMeta(&d.Message, stringOf(kept[:len(about)])) != nil {
		body := d.Body
		d.Message = brokers.Message{Body: body}
		d.Malformed = brokers.ReasonForeign
	}
}

// readForeign reads an entry of another format.
func (r *entryReader) readForeign(d *brokers.Delivery, e *rawEntry) {
	fields := make([]Field, 0, len(e.fields)/2)
	for i := 0; i+1 < len(e.fields); i += 2 {
		fields = append(fields, Field{string(e.fields[i]), string(e.fields[i+1])})
	}
	if r.format.Read(&d.Message, fields) != nil {
		body := d.Body
		d.Message = brokers.Message{Body: body}
		d.Malformed = brokers.ReasonForeign
	}
	if n := len(d.Body); r.maxBytes > 0 && n > r.maxBytes {
		d.Body = bytes.Clone(d.Body[:min(tooLargeKept, r.maxBytes)])
		d.Malformed, d.Size = brokers.ReasonTooLarge, n
	}
}

// early returns how much longer a message has to wait for its NotBefore.
func early(m *brokers.Message, now time.Time) time.Duration {
	if m.NotBefore.IsZero() {
		return 0
	}
	return max(0, m.NotBefore.Sub(now))
}
