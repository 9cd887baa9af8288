package memory

import (
	"slices"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
)

// An entry is a message in one queue. It is in exactly one list: the queue's ready, a key's held, a member's open, or
// the free ones; or it is among the delayed.
type entry struct {
	prev, next *entry
	queue      *queue
	// member has it, unsettled; nil otherwise. key is its key's state while a member of a group has it.
	member *member
	key    *keyState
	// generation counts hand-overs, so that a token of an earlier one settles nothing.
	generation uint64
	seq        uint64 // order of publishing in the queue
	attempt    int
	size       int
	due        time.Time // while delayed
	msg        brokers.Message
}

// A list is a chain of entries.
type list struct {
	head, tail *entry
	n          int
}

func (l *list) pushBack(e *entry) {
	e.prev, e.next = l.tail, nil
	if l.tail == nil {
		l.head = e
	} else {
		l.tail.next = e
	}
	l.tail = e
	l.n++
}

func (l *list) pushFront(e *entry) {
	e.prev, e.next = nil, l.head
	if l.head == nil {
		l.tail = e
	} else {
		l.head.prev = e
	}
	l.head = e
	l.n++
}

func (l *list) remove(e *entry) {
	if e.prev == nil {
		l.head = e.next
	} else {
		e.prev.next = e.next
	}
	if e.next == nil {
		l.tail = e.prev
	} else {
		e.next.prev = e.prev
	}
	e.prev, e.next = nil, nil
	l.n--
}

// popFront removes and returns the first entry, or nil.
func (l *list) popFront() *entry {
	e := l.head
	if e != nil {
		l.remove(e)
	}
	return e
}

// prepend moves all of other before l's own.
func (l *list) prepend(other *list) {
	for other.tail != nil {
		e := other.tail
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

// entriesPerBlock is how many entries are allocated at once: about 9 KiB.
const entriesPerBlock = 32

// maxFree bounds the entries that a queue keeps for reuse: about 1 MiB.
const maxFree = 4096

func (q *queue) newEntry() *entry {
	if q.free.n == 0 {
		block := make([]entry, entriesPerBlock)
		for i := range block {
			block[i].queue = q
			q.free.pushBack(&block[i])
		}
	}
	return q.free.popFront()
}

// drop forgets an entry that is in no list, and makes room for another.
func (q *queue) drop(e *entry) {
	q.count--
	q.bytes -= e.size
	e.msg = brokers.Message{}
	if q.free.n < maxFree {
		q.free.pushFront(e)
	}
}
