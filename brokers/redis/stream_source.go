package redis

import (
	"context"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
)

// A source is one stream that a member reads: that of a channel, or the parked one beside it. Its fields are guarded
// by the member's mu, unless they never change.
type source struct {
	channel string
	key     string
	parked  *source // of a channel's stream; nil for a parked one
	due     string  // of a parked stream: the key of the set that says when
	held    map[entryID]*lease

	// Of a channel's stream, of the reader's goroutine:
	ownPage entryID // own pending entries up to here were looked at since the connection was made
	ownDone bool
	seen    entryID // the greatest entry that was received

	idleRight bool // whether what is pending was looked at since the server's clock has jumped back

	// Of the steward's goroutine:
	looked time.Time // when the stream was last looked at
	last   entryID   // the last entry then
	lost   int64     // how many entries the group had lost by then

	floor   entryID   // all entries up to here were settled by the group, as far as this process knows
	nextDue time.Time // of a parked stream: when the next entry is due; zero for none, as far as this process knows
}

// A lease is a delivery that is not settled. The token of a delivery has it as its Ref.
type lease struct {
	member  *member
	source  *source
	id      entryID
	attempt int
	over    bool // its settlement has begun
	back    bool // it is given back, and no longer prolonged
}

// newSource returns the source of a channel.
func (m *member) newSource(channel string) *source {
	set := &m.conn.set.stream
	return &source{
		channel: channel, key: set.streamKey(channel), held: make(map[entryID]*lease),
		parked: &source{
			channel: channel, key: set.parkedKey(channel, m.group), due: set.dueKey(channel, m.group),
			held: make(map[entryID]*lease),
		},
	}
}

// A batch is what was received of one source at a time.
type batch struct {
	ids        []entryID
	deliveries []brokers.Delivery
}

// hold notes that entries were received, and keeps of the batch those that are to be delivered. One that is held
// already came again, because its lease ran out while the connection was lost for example: who has it goes on.
func (m *member) hold(s *source, b *batch) {
	m.mu.Lock()
	defer m.mu.Unlock()
	leases := make([]lease, len(b.ids))
	n := 0
	for i, id := range b.ids {
		if s.held[id] != nil {
			continue
		}
		d := &b.deliveries[n]
		if n < i {
			b.ids[n], *d = id, b.deliveries[i]
		}
		l := &leases[n]
		*l = lease{member: m, source: s, id: id, attempt: d.Attempt}
		s.held[id] = l
		d.Token, d.Settler = brokers.Token{Ref: l}, m
		n++
	}
	b.ids, b.deliveries = b.ids[:n], b.deliveries[:n]
	m.count += n
	m.conn.unsettled.Add(int64(n))
}

// release forgets leases that are settled, or given back.
func (m *member) release(leases []*lease) {
	if len(leases) == 0 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	for _, l := range leases {
		if l.source.held[l.id] == l {
			delete(l.source.held, l.id)
			n++
		}
	}
	m.count -= n
	m.conn.unsettled.Add(-int64(n))
	m.signal()
}

// signal says that leases have ended.
func (m *member) signal() {
	select {
	case m.changed <- struct{}{}:
	default:
	}
}

// room is how many more deliveries the sink may have.
func (m *member) room() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.prefetch - m.count
}

// heldCount is how many deliveries are not settled.
func (m *member) heldCount() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.count
}

// heldIDs returns the ids that are held of a source.
func (m *member) heldIDs(s *source) []entryID {
	m.mu.Lock()
	defer m.mu.Unlock()
	ids := make([]entryID, 0, len(s.held))
	for id, l := range s.held {
		if !l.back {
			ids = append(ids, id)
		}
	}
	return ids
}

// claiming takes the turn of who sends claims, and returns what ends it; an error where ctx ends before.
func (m *member) claiming(ctx context.Context) (end func(), err error) {
	select {
	case m.claims <- struct{}{}:
		return func() { <-m.claims }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// holds reports whether an entry of a source is held.
func (m *member) holds(s *source, id entryID) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return s.held[id] != nil
}

// all returns the sources that the member reads: those of channels, without the parked ones.
func (m *member) all() []*source {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.sources[:len(m.sources):len(m.sources)]
}
