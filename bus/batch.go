package bus

import (
	"slices"

	"github.com/eventbus-go/eventbus/brokers"
)

// defaultBatch is for drivers that say nothing: 1,024 messages is where go-redis pipelines stop gaining; a megabyte is a socket
// buffer's worth. maxBatch bounds what a driver may ask for, since a lane holds a batch beside what is queued.
var (
	defaultBatch = brokers.Batch{Messages: 1024, Bytes: 1 << 20}
	maxBatch     = brokers.Batch{Messages: 1 << 14, Bytes: 16 << 20}
)

// batchSizeOf returns the size of the batches for a connection.
func batchSizeOf(conn brokers.Conn) brokers.Batch {
	b, ok := conn.(brokers.Batcher)
	if !ok {
		return defaultBatch
	}
	size := b.Batch()
	return brokers.Batch{
		Messages: min(max(size.Messages, 1), maxBatch.Messages),
		Bytes:    min(max(size.Bytes, 1), maxBatch.Bytes),
	}
}

// A batch is what one call of a driver's Publish carries. Its messages are still queued for the ledger.
type batch struct {
	entries []entry
	msgs    []brokers.Message
	refs    []messageRef // of msgs, index by index
	awaited bool         // by the caller of a Publish or Send
}

// A messageRef says which event and which of its channels a message is.
type messageRef struct{ entry, channel int }

// take moves events from the head of the queue into b, which is empty: at least one, at most maxEvents, within the bounds of
// a batch. It reports false where the queue is empty, and whether the lane is closed.
func (l *lane) take(b *batch, maxEvents int) (ok, closed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	bytes := 0
	for len(b.entries) < maxEvents {
		next := l.queue.oldest()
		if next == nil {
			break
		}
		n := len(next.channels)
		if len(b.entries) > 0 && (len(b.msgs)+n > l.batch.Messages || bytes+n*len(next.body) > l.batch.Bytes) {
			break
		}
		bytes += n * len(next.body)
		b.awaited = b.awaited || next.call != nil
		b.entries = append(b.entries, *next)
		l.queue.pop()
		b.addMessages(len(b.entries) - 1)
	}
	l.asleep = len(b.entries) == 0
	return !l.asleep, l.closed
}

func (b *batch) addMessages(i int) {
	e := &b.entries[i]
	for c, channel := range e.channels {
		b.msgs = append(b.msgs, brokers.Message{})
		m := &b.msgs[len(b.msgs)-1]
		m.ID, m.Type, m.Channel, m.Key, m.Time, m.Body = e.id, e.typ, channel, e.key, e.when, e.body
		m.Priority, m.KeyInBody = int8(e.priority), e.keyInBody
		if e.rest != nil {
			m.Headers, m.NotBefore = e.rest.headers, e.rest.notBefore
		}
		if e.reading != nil {
			m.Reading = e.reading
		}
		b.refs = append(b.refs, messageRef{i, c})
	}
}

// keep reduces the batch's messages to those at the given indices. The entries stay: their bytes are still needed.
func (b *batch) keep(indices []int) {
	msgs, refs := b.msgs, b.refs
	if cap(msgs) > 0 {
		msgs = make([]brokers.Message, 0, len(indices)) // a driver may still be reading the old ones
	}
	kept := refs[:0]
	for _, i := range indices {
		msgs = append(msgs, b.msgs[i])
		kept = append(kept, refs[i])
	}
	b.msgs, b.refs = msgs, kept
}

// reset empties the batch for reuse.
func (b *batch) reset() {
	clear(b.entries)
	clear(b.msgs)
	b.entries, b.msgs, b.refs, b.awaited = b.entries[:0], b.msgs[:0], b.refs[:0], false
}

// taint says that a driver may still be reading the batch: its memory is never reused. The batch goes on with a copy of its
// messages, some of which may have to be sent again. It is called without the lock.
func (l *lane) taint(b *batch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range b.entries {
		b.entries[i].chunk.tainted = true
	}
	b.msgs = slices.Clone(b.msgs)
}
