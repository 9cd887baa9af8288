package brokertest

import (
	"fmt"
	"slices"
	"sync"

	"github.com/eventbus-go/eventbus/brokers"
)

// A keyWatch watches what the members of a group have of each key. A delivery counts from its arrival until just before
// it is settled; the messages of a key have to arrive in order, and at one member at a time.
type keyWatch struct {
	mu     sync.Mutex
	place  map[string]int    // of a message, in the order of publishing
	key    map[string]string // of a message
	last   map[string]int    // place of the last message that arrived, by key
	holder map[string]int    // the member that has the key
	open   map[string]int    // how many of the key it has
	wrong  []string
}

func newKeyWatch(msgs []brokers.Message) *keyWatch {
	o := &keyWatch{
		place: make(map[string]int), key: make(map[string]string),
		last: make(map[string]int), holder: make(map[string]int), open: make(map[string]int),
	}
	for i, m := range msgs {
		o.place[identity(m)] = i
		o.key[identity(m)] = m.Key
	}
	return o
}

func (o *keyWatch) arrived(member int, batch []brokers.Delivery) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, d := range batch {
		id := identity(d.Message)
		key, place := o.key[id], o.place[id]
		if o.open[key] > 0 && o.holder[key] != member {
			o.wrong = append(o.wrong, fmt.Sprintf("member %d got a message of key %q while member %d had %d of it unsettled",
				member, key, o.holder[key], o.open[key]))
		}
		if last, seen := o.last[key]; seen && last > place {
			o.wrong = append(o.wrong, fmt.Sprintf("of key %q, message %d came after message %d", key, place, last))
		}
		o.last[key], o.holder[key] = place, member
		o.open[key]++
	}
}

func (o *keyWatch) settling(d brokers.Delivery) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.open[o.key[identity(d.Message)]]--
}

// violations returns the first few.
func (o *keyWatch) violations() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.wrong[:min(3, len(o.wrong))])
}
