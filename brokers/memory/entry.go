package memory

import (
	"slices"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
)

// An entry is a message in one queue. It is in exactly one list: the queue's ready, a key's held, a member's open, or
// the free ones; or it is among the delayed.
//
// Lists are linked by number and not by address, and a field is only written where it changes: while the collector
// marks, each write of a pointer costs more than the rest of what happens to an entry.
type entry struct {
	queue  *queue
	member *member
	key    *keyState // in a group, while member has it
	msg    kept
	size   int
	// generation counts hand-overs, so that a token of an earlier one settles nothing.
	generation       uint64
	seq              uint64 // order of publishing in the queue
	self, prev, next uint32 // places in queue.blocks; 0 is none
	attempt          int32
	out              bool // member has it, unsettled
}

// A kept is what a queue keeps of a message, in less room: there may be many.
type kept struct {
	id, typ, channel, key string
	body                  []byte
	reading               any
	rest                  *rest // nil for most
	when                  time.Time
	priority              int8
}

// A rest is what few messages have.
type rest struct {
	notBefore time.Time
	headers   []brokers.Header
}

// keep returns what is kept of a message that goes to a channel, in copies that the queue owns.
func keep(m *brokers.Message, channel string, c *content) kept {
	k := kept{
		id: m.ID, typ: m.Type, channel: channel, key: m.Key, body: c.body, reading: m.Reading, when: m.Time,
		priority: m.Priority,
	}
	if !m.NotBefore.IsZero() || len(c.headers) > 0 {
		k.rest = &rest{m.NotBefore, c.headers}
	}
	return k
}

// deliver sets m, which is empty, to the message that is delivered.
func (k *kept) deliver(m *brokers.Message) {
	m.ID, m.Type, m.Channel, m.Key, m.Priority = k.id, k.typ, k.channel, k.key, k.priority
	m.Time, m.Body, m.Reading = k.when, k.body, k.reading
	if r := k.rest; r != nil {
		m.NotBefore, m.Headers = r.notBefore, r.headers
	}
}

// A list is a chain of a queue's entries.
type list struct {
	q          *queue
	head, tail uint32
	n          int
}

func (l *list) pushBack(e *entry) {
	e.prev, e.next = l.tail, 0
	if l.tail == 0 {
		l.head = e.self
	} else {
		l.q.at(l.tail).next = e.self
	}
	l.tail = e.self
	l.n++
}

func (l *list) pushFront(e *entry) {
	e.prev, e.next = 0, l.head
	if l.head == 0 {
		l.tail = e.self
	} else {
		l.q.at(l.head).prev = e.self
	}
	l.head = e.self
	l.n++
}

func (l *list) remove(e *entry) {
	if e.prev == 0 {
		l.head = e.next
	} else {
		l.q.at(e.prev).next = e.next
	}
	if e.next == 0 {
		l.tail = e.prev
	} else {
		l.q.at(e.next).prev = e.prev
	}
	l.n--
}

// popFront removes and returns the first entry, or nil.
func (l *list) popFront() *entry {
	if l.head == 0 {
		return nil
	}
	e := l.q.at(l.head)
	l.remove(e)
	return e
}

// prepend moves all of other before l's own.
func (l *list) prepend(other *list) {
	for other.tail != 0 {
		e := other.q.at(other.tail)
		other.remove(e)
		l.pushFront(e)
	}
}

// prependSorted puts entries that are in no list before l's own, in the order in which they were published.
func (l *list) prependSorted(es []*entry) {
	slices.SortFunc(es, func(a, b *entry) int {
		if a.seq < b.seq {
			return -1
		}
		return 1
	})
	for _, e := range slices.Backward(es) {
		l.pushFront(e)
	}
}

// blockSize is how many entries are allocated at once: about 9 KiB.
const blockSize = 32

// keptBlocks bounds what a queue that has been emptied keeps for reuse: about 9 MiB, twice a
// queue's default bound.
const keptBlocks = 1024

type block [blockSize]entry

func (q *queue) at(place uint32) *entry { return &q.blocks[place/blockSize][place%blockSize] }

func (q *queue) newEntry() *entry {
	if q.free.n == 0 {
		first := uint32(len(q.blocks)) * blockSize
		b := new(block)
		q.blocks = append(q.blocks, b)
		for i := range uint32(blockSize) {
			if first+i > 0 { // place 0 stands for none
				b[i].queue, b[i].self = q, first+i
				q.free.pushBack(&b[i])
			}
		}
	}
	return q.free.popFront()
}

// drop forgets an entry that is in no list, and makes room for another. Its strings stay until it is used again.
func (q *queue) drop(e *entry) {
	q.count--
	q.bytes -= e.size
	e.msg.body, e.msg.reading = nil, nil
	if e.msg.rest != nil {
		e.msg.rest = nil
	}
	q.free.pushFront(e)
	if q.count == 0 && len(q.blocks) > keptBlocks {
		q.blocks, q.free = nil, list{q: q} // tokens of old entries settle nothing: none is out
	}
}
