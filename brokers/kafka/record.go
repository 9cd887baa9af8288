package kafka

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/segmentio/kafka-go/protocol"

	"github.com/eventbus-go/eventbus/brokers"
)

// Our record headers; those of the message follow them. The time has nanoseconds since 1970, or nothing where the message
// has none. It is no record timestamp: brokers delete by that one, so that an event of last month would be gone before
// it is read, and refuse those of the future (log.message.timestamp.after.max.ms).
const (
	headerTime     = "eventbus-time"
	headerID       = "eventbus-id"
	headerType     = "eventbus-type"
	headerPriority = "eventbus-priority"
)

// recordSize is an upper bound of what m takes in a batch.
func recordSize(m *brokers.Message) int {
	const fixed, perHeader = 160, 12 // names of our headers, numbers of variable length
	n := fixed + len(m.Body) + len(m.Key) + len(m.ID) + len(m.Type)
	for i := range m.Headers {
		n += perHeader + len(m.Headers[i].Key) + len(m.Headers[i].Value)
	}
	return n
}

// The states of a request's records.
const (
	idle      = iota // nobody has read them
	begun            // the client encodes or has encoded them
	abandoned        // the caller has given up: nobody may read them
)

// records feeds a batch to the client's encoder, one record at a time, out of memory that is used again.
//
// The client encodes a whole request before it writes the first byte. Suppose the context ends while it waits for a
// connection: it would still encode and send the batch later. The state, which all batches of a request share, tells
// whether it began, and keeps it from beginning afterwards.
type records struct {
	state *atomic.Int32
	msgs  []brokers.Message
	which []int32
	next  int

	rec      protocol.Record
	key, val view
	headers  []protocol.Header
	scratch  []byte
}

// A view is a protocol.Bytes.
type view struct{ bytes.Reader }

// Close does nothing.
func (*view) Close() error { return nil }

var errAbandoned = errors.New("abandoned by its caller")

// ReadRecord is called by the client. What it returns is valid until the next call.
func (r *records) ReadRecord() (*protocol.Record, error) {
	if !r.state.CompareAndSwap(idle, begun) && r.state.Load() == abandoned {
		return nil, errAbandoned
	}
	if r.next == len(r.which) {
		return nil, io.EOF
	}
	m := &r.msgs[r.which[r.next]]
	r.next++
	r.fill(m)
	return &r.rec, nil
}

func (r *records) fill(m *brokers.Message) {
	if need := recordSize(m); cap(r.scratch) < need {
		r.scratch = make([]byte, 0, 2*need)
	}
	r.scratch, r.headers = r.scratch[:0], r.headers[:0]
	r.rec = protocol.Record{}
	if m.Key != "" {
		r.key.Reset(r.text(m.Key))
		r.rec.Key = &r.key
	}
	r.val.Reset(m.Body)
	r.rec.Value = &r.val
	from := len(r.scratch)
	if !m.Time.IsZero() {
		r.scratch = strconv.AppendInt(r.scratch, m.Time.UnixNano(), 10)
	}
	r.header(headerTime, r.scratch[from:len(r.scratch):len(r.scratch)])
	if m.ID != "" {
		r.header(headerID, r.text(m.ID))
	}
	if m.Type != "" {
		r.header(headerType, r.text(m.Type))
	}
	if m.Priority != 0 {
		from = len(r.scratch)
		r.scratch = strconv.AppendInt(r.scratch, int64(m.Priority), 10)
		r.header(headerPriority, r.scratch[from:len(r.scratch):len(r.scratch)])
	}
	for i := range m.Headers {
		r.header(m.Headers[i].Key, r.text(m.Headers[i].Value))
	}
	r.rec.Headers = r.headers
}

func (r *records) header(name string, value []byte) {
	r.headers = append(r.headers, protocol.Header{Key: name, Value: value})
}

// text returns the bytes of s in scratch, which is large enough for all of them.
func (r *records) text(s string) []byte {
	from := len(r.scratch)
	r.scratch = append(r.scratch, s...)
	return r.scratch[from:len(r.scratch):len(r.scratch)]
}

// A decoder makes messages of records, with bodies of their own. It is used by one goroutine at a time.
type decoder struct {
	scratch  []byte
	lastType string // consecutive events often have the same one
	room     []entry
	chunk    int
}

// maxChunk is how many entries are allocated at once. They live until the last one of them is settled, so that a few
// messages get few.
const maxChunk = 32

func (d *decoder) entry() *entry {
	if len(d.room) == 0 {
		d.chunk = min(maxChunk, max(1, 2*d.chunk))
		d.room = make([]entry, d.chunk)
	}
	e := &d.room[0]
	d.room = d.room[1:]
	return e
}

// decode reads one record. One without our time header is a foreign one: it has the time at which it was written.
func (d *decoder) decode(
	rec *protocol.Record, channel string, limit int,
) (m brokers.Message, bad brokers.Reason, size int, err error) {
	m.Channel = channel
	m.Time = rec.Time.UTC()
	if rec.Key != nil {
		n := rec.Key.Len()
		d.scratch = slices.Grow(d.scratch[:0], n)[:n]
		if _, err := io.ReadFull(rec.Key, d.scratch); err != nil {
			return m, "", 0, err
		}
		m.Key = string(d.scratch)
	}
	d.headers(&m, rec.Headers)
	if rec.Value == nil {
		return m, brokers.ReasonForeign, 0, nil
	}
	if m.Body, err = protocol.ReadAll(rec.Value); err != nil {
		return m, "", 0, err
	}
	if limit > 0 && len(m.Body) > limit {
		bad, size = brokers.ReasonTooLarge, len(m.Body)
		m.Body = bytes.Clone(m.Body[:limit])
	}
	return m, bad, size, nil
}

// headers reads our own headers, each once, and takes all others for the message's.
func (d *decoder) headers(m *brokers.Message, headers []protocol.Header) {
	var seen [4]bool
	first := func(i int) bool {
		was := seen[i]
		seen[i] = true
		return !was
	}
	for i := range headers {
		h := &headers[i]
		switch {
		case h.Key == headerTime && first(0):
			m.Time = time.Time{}
			if n, err := strconv.ParseInt(string(h.Value), 10, 64); err == nil {
				m.Time = time.Unix(0, n).UTC()
			}
		case h.Key == headerID && first(1):
			m.ID = string(h.Value)
		case h.Key == headerType && first(2):
			if string(h.Value) != d.lastType { // the comparison does not allocate
				d.lastType = string(h.Value)
			}
			m.Type = d.lastType
		case h.Key == headerPriority && first(3):
			n, _ := strconv.ParseInt(string(h.Value), 10, 8)
			m.Priority = int8(n)
		default:
			m.Headers = append(m.Headers, brokers.Header{Key: h.Key, Value: string(h.Value)})
		}
	}
}
