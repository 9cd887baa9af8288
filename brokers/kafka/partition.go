package kafka

import (
	"time"

	"github.com/eventbus-go/eventbus/brokers"
)

// Where an entry is.
const (
	fetched = iota // in its partition's buffer
	held           // waits for an earlier message of its key that waits for its redelivery
	waiting        // waits for its redelivery
	ready          // is the next to be delivered
	out            // delivered and not settled
	done           // settled
)

// An entry is a record from when it was fetched until all before it are settled. It is guarded by subscription.mu.
type entry struct {
	p       *partition
	offset  int64
	msg     brokers.Message
	bad     brokers.Reason
	full    int // the body's size where it was cut
	size    int // what it counts in the buffer
	state   uint8
	blocks  bool // it was asked for again, so that its key waits
	attempt int
	seq     uint64 // counts deliveries, so that a token of an earlier one settles nothing
	due     time.Time
}

// A partition is what a subscription has of one. It is guarded by subscription.mu.
type partition struct {
	tp
	leader int32
	next   int64 // the offset to fetch from
	dead   bool  // not this member's any more

	fetching bool
	retryAt  time.Time // not before, after an error
	failure  error     // the first one since it was fetched from last
	buffer   []*entry  // fetched and not looked at, by offset
	bytes    int       // of the entries in buffer
	// window has what was looked at and is not done, by offset, with what is done in between.
	window    []*entry
	keys      map[string]*blockedKey
	committed int64 // -1 where nothing is
}

// A blockedKey is a key of which some message waits for its redelivery, or has been redelivered and is not settled.
type blockedKey struct {
	n    int // of those messages
	held []*entry
}

// fetchBytes is what a partition is asked for at once, and half of it what is kept ready.
const fetchBytes = 1 << 20

// hungry reports whether more should be fetched. Nothing is delivered that is maxAhead messages ahead of the oldest one that is
// not settled: those settled in between come again after a crash.
func (p *partition) hungry(now time.Time, maxAhead int) bool {
	return !p.fetching && p.bytes < fetchBytes/2 && len(p.window)+len(p.buffer) < maxAhead && !now.Before(p.retryAt)
}

// settledPrefix is the offset before which everything is settled: what may be committed. Suppose 7 and 9 are acked and 8
// still runs: committing 10 now, then crashing, would lose 8.
func (p *partition) settledPrefix() int64 {
	switch {
	case len(p.window) > 0:
		return p.window[0].offset
	case len(p.buffer) > 0:
		return p.buffer[0].offset
	default:
		return p.next
	}
}

// prune forgets what is settled at the beginning of the window.
func (p *partition) prune() {
	n := 0
	for n < len(p.window) && p.window[n].state == done {
		p.window[n] = nil
		n++
	}
	p.window = p.window[n:]
	if len(p.window) == 0 {
		p.window = nil
	}
}

// block makes later messages of e's key wait until e is done.
func (p *partition) block(e *entry) {
	if e.blocks || e.msg.Key == "" {
		return
	}
	e.blocks = true
	if p.keys == nil {
		p.keys = make(map[string]*blockedKey)
	}
	k := p.keys[e.msg.Key]
	if k == nil {
		k = &blockedKey{}
		p.keys[e.msg.Key] = k
	}
	k.n++
}

// hold keeps e back if its key waits, and reports whether it does.
func (p *partition) hold(e *entry) bool {
	if e.blocks || len(p.keys) == 0 {
		return false
	}
	k := p.keys[e.msg.Key]
	if k == nil {
		return false
	}
	e.state = held
	k.held = append(k.held, e)
	return true
}

// finish ends e and returns what waited for it.
func (p *partition) finish(e *entry) []*entry {
	e.state = done
	e.msg = brokers.Message{Key: e.msg.Key}
	var free []*entry
	if e.blocks {
		k := p.keys[e.msg.Key]
		if k.n--; k.n == 0 {
			free = k.held
			delete(p.keys, e.msg.Key)
		}
	}
	p.prune()
	return free
}
