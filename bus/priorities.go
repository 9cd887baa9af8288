package bus

import (
	"fmt"
	"math/bits"

	"github.com/eventbus-go/eventbus/schema"
)

// Priorities says in which order a subscription hands out the events that it holds and that wait for no other of their key. The
// zero value is PrioritiesOn.
//
// With PrioritiesOn the highest priority goes first, and among equals the one that has been ready for longest. An event never
// passes another one of its key, whatever their priorities. A low one never starves: of eight in a row at least one is the one that
// has been ready for longest. So an event is handed out after at most 8n+7 others, where n is how many were ready before it, and n
// is less than Prefetch; and priorities cost one of high priority at most an eighth of what is handed out.
//
// With PrioritiesOff, events are handed out in the order in which they became ready.
type Priorities uint8

const (
	_ Priorities = iota
	// PrioritiesOn hands out what is of higher priority first.
	PrioritiesOn
	// PrioritiesOff ignores priorities.
	PrioritiesOff
)

// ParsePriorities reads "on" or "off".
func ParsePriorities(s string) (Priorities, error) {
	switch s {
	case "on":
		return PrioritiesOn, nil
	case "off":
		return PrioritiesOff, nil
	default:
		return 0, fmt.Errorf(`priorities are on or off, not %q`, s)
	}
}

// laneOf is the number of the lane in which an event waits, the first to be handed out being 0.
func (p Priorities) laneOf(e *schema.Event) uint8 {
	if p == PrioritiesOff {
		return 0
	}
	return uint8(schema.Critical - min(max(e.Priority, schema.Low), schema.Critical))
}

const (
	readyLanes = int(schema.Critical-schema.Low) + 1
	// maxPassed is how often in a row the item that has been ready for longest may be passed over.
	maxPassed = 7
)

// A readyQueue has the items that are ready, a lane for each priority. Lanes age by what is taken, not by the clock: takes are what
// an item waits for, and they cost nothing to count. Nothing here grows with the number of items.
type readyQueue struct {
	lanes  [readyLanes]itemQueue
	filled uint8  // a bit for each lane that is not empty
	passed uint8  // how many takes in a row have passed over the item that has been ready for longest
	seq    uint64 // of the last item that became ready
}

func (q *readyQueue) empty() bool { return q.filled == 0 }

func (q *readyQueue) push(it *item) {
	q.seq++
	it.readySeq = q.seq
	q.lanes[it.lane].push(it)
	q.filled |= 1 << it.lane
}

// pop takes the next item, nil where there is none.
func (q *readyQueue) pop() *item {
	if q.filled == 0 {
		return nil
	}
	lane := uint8(bits.TrailingZeros8(q.filled))
	if q.filled != 1<<lane {
		lane = q.choose(lane)
	} else {
		q.passed = 0
	}
	it := q.lanes[lane].pop()
	if q.lanes[lane].head == nil {
		q.filled &^= 1 << lane
	}
	return it
}

// choose decides between the lanes that are filled, of which highest is the first.
func (q *readyQueue) choose(highest uint8) uint8 {
	longest := highest
	for lane := highest + 1; int(lane) < readyLanes; lane++ {
		if it := q.lanes[lane].head; it != nil && it.readySeq < q.lanes[longest].head.readySeq {
			longest = lane
		}
	}
	if longest == highest || q.passed == maxPassed {
		q.passed = 0
		return longest
	}
	q.passed++
	return highest
}
