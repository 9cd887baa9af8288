package memory

import (
	"fmt"
	"slices"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
)

// A queue holds the messages of one group, or of one subscription without a group, from Publish until they are settled.
// All of it is guarded by broker.mu.
type queue struct {
	b        *broker
	name     string // for errors
	group    bool
	channels []string // sorted
	patterns []brokers.Pattern
	members  []*member

	bound        bound
	count, bytes int
	seq          uint64
	blocks       []*block
	free         list

	ready   list
	delayed delayHeap
	timer   *time.Timer
	// keys has the keys that a member has unsettled deliveries of; nil without a group, where order is the list's.
	keys  map[string]*keyState
	spare []*keyState

	// refused is the last broker.pass in which it had no room: it takes no later message of that pass, so that a
	// small one does not overtake a large one. wanted says that a publisher waits for room.
	refused uint64
	wanted  bool

	// missed is what gave way while there was no member.
	missed      int64
	missedSince time.Time
}

// A keyState says that a member has open unsettled deliveries of a key. Other messages of the key that came to be
// looked at meanwhile are held.
type keyState struct {
	name  string
	owner *member
	open  int
	held  list
}

// join returns the queue of a subscription, which it creates unless the group exists. b.mu is held.
func (b *broker) join(s brokers.Subscription, limit bound) (*queue, error) {
	pats, err := parseAll(s.Channels)
	if err != nil {
		return nil, err
	}
	channels := slices.Sorted(slices.Values(s.Channels))
	if q := b.groups[s.Group]; s.Group != "" && q != nil {
		return q, q.rejoin(channels, pats)
	}
	q := &queue{b: b, name: s.Name, channels: channels, patterns: pats, bound: limit}
	q.free.q, q.ready.q = q, q
	if s.Group != "" {
		if len(b.groups) >= maxGroups {
			return nil, fmt.Errorf("memory:// has %d groups already, which is its bound: groups live as long as the broker",
				maxGroups)
		}
		q.name, q.group, q.keys = s.Group, true, make(map[string]*keyState)
		b.groups[s.Group] = q
	}
	b.add(q)
	return q, nil
}

// rejoin checks that a new member wants what the group reads. A group without members may change what it reads.
func (q *queue) rejoin(channels []string, pats []brokers.Pattern) error {
	switch {
	case slices.Equal(q.channels, channels):
		return nil
	case len(q.members) > 0:
		return fmt.Errorf("group %q reads %q: a member has to name the same channels, not %q", q.name, q.channels, channels)
	}
	q.channels, q.patterns = channels, pats
	q.b.changed()
	return nil
}

func parseAll(channels []string) ([]brokers.Pattern, error) {
	if len(channels) == 0 {
		return nil, fmt.Errorf("a subscription needs at least one channel")
	}
	out := make([]brokers.Pattern, len(channels))
	for i, s := range channels {
		p, err := brokers.ParsePattern(s)
		if err != nil {
			return nil, err
		}
		out[i] = p
	}
	return out, nil
}

func (q *queue) wants(channel string) bool {
	for _, p := range q.patterns {
		if p.Match(channel) {
			return true
		}
	}
	return false
}

// full reports whether a message of that size has to wait. A group without members has nobody to wait for.
func (q *queue) full(size int) bool {
	return q.over(size) && (len(q.members) > 0 || !q.group)
}

func (q *queue) over(size int) bool {
	return q.count > 0 && (q.count >= q.bound.messages || q.bytes+size > q.bound.bytes)
}

// push appends a message for which there is room, or makes the oldest ones give way.
func (q *queue) push(msg *kept, size int) {
	for q.over(size) {
		q.dropOldest()
	}
	e := q.newEntry()
	e.msg, e.size, e.attempt = *msg, size, 0
	q.seq++
	e.seq = q.seq
	q.count++
	q.bytes += size
	if msg.rest != nil && !msg.rest.notBefore.IsZero() {
		q.delay(e, msg.rest.notBefore)
		return
	}
	q.ready.pushBack(e)
}

// dropOldest forgets a message of a group without members, so that none is unsettled: all are ready or delayed.
func (q *queue) dropOldest() {
	if q.missed == 0 {
		q.missedSince = time.Now()
	}
	q.missed++
	e := q.ready.popFront()
	if e == nil {
		e = q.delayed.pop()
	}
	q.drop(e)
}

// next removes the first message that m may have, or returns nil.
//
// Suppose A has 1 and 2 of a key unsettled, and B asks: 3 and 4 of that key are held, so that B comes to other keys.
// When A asks, it gets 3 first, even where it comes upon 5. When A has settled all it has of the key, what is held
// goes back to the front, for anybody.
func (q *queue) next(m *member) *entry {
	for {
		e := q.ready.popFront()
		if e == nil || q.keys == nil || e.msg.key == "" {
			return e
		}
		k := q.keys[e.msg.key]
		if k == nil {
			k = q.newKey(e.msg.key, m)
		}
		k.held.pushBack(e)
		if k.owner != m {
			continue
		}
		e = k.held.popFront()
		k.open++
		e.key = k
		return e
	}
}

// releaseKey ends an entry's part in its key.
func (q *queue) releaseKey(e *entry) {
	k := e.key
	if k == nil {
		return
	}
	e.key = nil
	k.open--
	if k.open == 0 {
		delete(q.keys, k.name)
		q.ready.prepend(&k.held)
		if len(q.spare) < maxSpare {
			q.spare = append(q.spare, k)
		}
	}
}

// maxSpare bounds the key states that a queue keeps for reuse; most batches have fewer keys.
const maxSpare = 1024

func (q *queue) newKey(name string, owner *member) *keyState {
	var k *keyState
	if n := len(q.spare); n > 0 {
		k, q.spare = q.spare[n-1], q.spare[:n-1]
	} else {
		k = &keyState{held: list{q: q}}
	}
	k.name, k.owner = name, owner
	q.keys[name] = k
	return k
}

// wake wakes members that wait and may have what is ready.
func (q *queue) wake() {
	n := q.ready.n
	for _, m := range q.members {
		if n == 0 {
			return
		}
		if m.idle && m.room() > 0 {
			m.idle = false
			m.signal()
			n--
		}
	}
}

// roomMade lets publishers try again that wait for this queue. It waits until an eighth is free, or nothing is ready,
// so that a publisher is not woken for each message.
func (q *queue) roomMade() {
	if !q.wanted {
		return
	}
	few := q.count <= q.bound.messages-max(1, q.bound.messages/8) && q.bytes <= q.bound.bytes-q.bound.bytes/8
	if few || q.ready.n == 0 {
		q.wanted = false
		q.b.wakePublishers()
	}
}
