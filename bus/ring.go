package bus

import (
	"iter"

	"github.com/eventbus-go/eventbus/schema"
)

// A ring is a queue of entries that grows by doubling and never shrinks below what it held. Entries that were given up stay
// in it, dead, until they are passed over or until they outnumber the living.
type ring struct {
	slots []entry // a power of two
	head  uint64  // position of the oldest; positions only ever grow, the slot is the position modulo the size
	tail  uint64  // position after the newest
	dead  int
	// sought, per priority: no living entry of it stands before this position.
	sought [4]uint64
}

const ringMin = 64

func (r *ring) at(pos uint64) *entry { return &r.slots[pos&uint64(len(r.slots)-1)] }

func (r *ring) empty() bool { return r.head == r.tail }

// push makes a slot at the end. The pointer is good until the next push.
func (r *ring) push() *entry {
	if r.tail-r.head == uint64(len(r.slots)) {
		r.makeSlots()
	}
	r.tail++
	return r.at(r.tail - 1)
}

// makeSlots drops the dead where they are the most part, else doubles the size.
func (r *ring) makeSlots() {
	size := len(r.slots)
	if r.dead <= size/2 {
		size = max(2*size, ringMin)
	}
	old := *r
	*r = ring{slots: make([]entry, size)}
	for e := range old.all() {
		if !e.dead {
			r.tail++
			*r.at(r.tail - 1) = *e
		}
	}
}

// oldest returns the oldest living entry, or nil. The dead before it are passed over for good.
func (r *ring) oldest() *entry {
	for ; !r.empty(); r.head++ {
		e := r.at(r.head)
		if !e.dead {
			return e
		}
		*e = entry{}
		r.dead--
	}
	return nil
}

// pop removes the entry that oldest returned, which the caller has copied.
func (r *ring) pop() {
	*r.at(r.head) = entry{}
	r.head++
}

// bury marks an entry of the ring as dead and lets go of what it held, except its body, which its chunk owns.
func (r *ring) bury(e *entry) {
	e.dead = true
	r.dead++
}

// oldestBelow returns the oldest living entry of the lowest priority below p, or nil.
func (r *ring) oldestBelow(p schema.Priority) *entry {
	for q := schema.Low; q < p; q++ {
		sought := &r.sought[q-schema.Low]
		for *sought = max(*sought, r.head); *sought < r.tail; *sought++ {
			if e := r.at(*sought); !e.dead && e.priority == q {
				return e
			}
		}
	}
	return nil
}

// all yields the entries from the oldest, the dead included.
func (r *ring) all() iter.Seq[*entry] {
	return func(yield func(*entry) bool) {
		for pos := r.head; pos < r.tail; pos++ {
			if !yield(r.at(pos)) {
				return
			}
		}
	}
}
