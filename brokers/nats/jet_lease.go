package nats

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"
)

// What settles a delivery is published to its reply subject
// (https://docs.nats.io/nats-concepts/jetstream/consumers#acknowledgement-policies).
var (
	ackAck      = []byte("+ACK")
	ackTerm     = []byte("+TERM")
	ackProgress = []byte("+WPI")
	ackNak      = []byte("-NAK")
)

// nakAfter is the settlement that asks for a redelivery after d.
func nakAfter(d time.Duration) []byte {
	return fmt.Appendf(nil, `-NAK {"delay": %d}`, d.Nanoseconds())
}

// A lease is a delivery that is not settled.
type lease struct {
	count
	token uint64
	reply string
	place place
}

// A place is where a message is kept.
type place struct {
	stream string
	seq    uint64
}

// leases are those of one subscription.
type leases struct {
	mu      sync.Mutex
	last    uint64 // token
	byToken map[uint64]*lease
	byPlace map[place]*lease
	delayed map[place]delay
	asked   int           // settlements that the server has not confirmed
	changed chan struct{} // has an element when some were settled
}

func newLeases() *leases {
	return &leases{
		byToken: make(map[uint64]*lease), byPlace: make(map[place]*lease), delayed: make(map[place]delay),
		changed: make(chan struct{}, 1),
	}
}

// add notes a delivery and returns its token, and how many deliveries of the message no handler has seen. A message that is leased
// already came again because its lease ran out, while the connection was lost for example: what has it goes on, with the new
// lease, and ok is false.
func (l *leases) add(from origin, reply string) (token uint64, unseen int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if old := l.byPlace[from.place]; old != nil {
		old.count, old.reply = old.next(from.attempt), reply
		old.unseen++
		return old.token, old.unseen, false
	}
	l.last++
	n := &lease{count: l.resumed(from), token: l.last, reply: reply, place: from.place}
	l.byToken[n.token], l.byPlace[from.place] = n, n
	return n.token, n.unseen, true
}

// end forgets a lease and returns its reply subject; false where it is not there.
func (l *leases) end(token uint64) (reply string, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	old := l.remove(token)
	if old == nil {
		return "", false
	}
	return old.reply, true
}

// settle is end for a lease whose answer the server has yet to confirm: answered follows. Where the message is to be delivered
// again after a while, that is remembered.
func (l *leases) settle(token uint64, after time.Duration) (reply string, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	old := l.remove(token)
	if old == nil {
		return "", false
	}
	l.asked++
	if after > 0 {
		l.remember(old.place, delay{count: old.count, reply: old.reply, due: time.Now().Add(after)})
	}
	return old.reply, true
}

// answered says that the server has confirmed n settlements, or never will.
func (l *leases) answered(n int) {
	l.mu.Lock()
	l.asked -= n
	l.mu.Unlock()
	l.signal()
}

// remove forgets a lease and returns it; nil where it is not there. l.mu is held.
func (l *leases) remove(token uint64) *lease {
	old := l.byToken[token]
	if old != nil {
		delete(l.byToken, token)
		delete(l.byPlace, old.place)
	}
	return old
}

// signal says that some were settled.
func (l *leases) signal() {
	select {
	case l.changed <- struct{}{}:
	default:
	}
}

func (l *leases) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.byToken)
}

// busy reports whether something is not settled, or not confirmed as settled.
func (l *leases) busy() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.byToken)+l.asked > 0
}

// replies returns the reply subjects of all.
func (l *leases) replies() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]string, 0, len(l.byToken))
	for _, one := range l.byToken {
		out = append(out, one.reply)
	}
	return out
}

// lowest returns the lowest sequence that is leased of a stream, or def where that is lower.
func (l *leases) lowest(stream string, def uint64) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	for at := range l.byPlace {
		if at.stream == stream {
			def = min(def, at.seq)
		}
	}
	return def
}

// An origin is what a reply subject says of a delivery.
type origin struct {
	place
	attempt int
}

// readOrigin reads a reply subject (https://github.com/nats-io/nats-architecture-and-design, ADR-15):
//
//	$JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<time>.<pending>
//	$JS.ACK.<domain>.<account>.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<time>.<pending>[.<random>]
func readOrigin(reply string) (origin, bool) {
	rest, ok := strings.CutPrefix(reply, "$JS.ACK.")
	if !ok {
		return origin{}, false
	}
	if dots := strings.Count(rest, "."); dots >= 8 {
		_, rest, _ = strings.Cut(rest, ".")
		_, rest, _ = strings.Cut(rest, ".")
	} else if dots != 6 {
		return origin{}, false
	}
	stream, rest, _ := strings.Cut(rest, ".")
	_, rest, _ = strings.Cut(rest, ".")
	delivered, rest, _ := strings.Cut(rest, ".")
	sequence, _, _ := strings.Cut(rest, ".")
	attempt, err := strconv.Atoi(delivered)
	seq, err2 := strconv.ParseUint(sequence, 10, 64)
	return origin{place{stream, seq}, attempt}, err == nil && err2 == nil
}
