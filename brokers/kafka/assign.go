package kafka

import (
	"slices"
	"strconv"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
)

// A start is a partition and the offset at which to begin; committed is -1 where the group has none.
type start struct {
	tp
	leader          int32
	next, committed int64
}

// assign makes exactly these partitions the subscription's. One that it has already is kept with all that was fetched of
// it if keep is true, which is right only if nobody else had it meanwhile; the others begin at their offsets.
func (s *subscription) assign(starts []start, keep bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.parts
	s.parts, s.order = make(map[tp]*partition, len(starts)), s.order[:0:0]
	for _, st := range starts {
		p := before[st.tp]
		if p == nil || !keep {
			p = &partition{tp: st.tp, next: st.next, committed: st.committed}
		}
		p.leader = st.leader
		s.parts[st.tp] = p
		s.order = append(s.order, p)
	}
	for at, p := range before {
		if s.parts[at] != p {
			s.drop(p)
		}
	}
	s.paused, s.held = s.stopping, false
	s.count()
	s.wake()
	s.wakeFetchers()
}

// add adds partitions to those that the subscription has.
func (s *subscription) add(starts []start) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, st := range starts {
		p := &partition{tp: st.tp, leader: st.leader, next: st.next, committed: st.committed}
		s.parts[st.tp] = p
		s.order = append(s.order, p)
	}
	s.wakeFetchers()
}

// remove takes a partition away whose topic is gone.
func (s *subscription) remove(at tp) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.parts[at]; p != nil {
		delete(s.parts, at)
		s.order = slices.DeleteFunc(s.order, func(q *partition) bool { return q == p })
		s.drop(p)
	}
}

// drop forgets what there is of a partition: it may be another member's. s.mu is held.
func (s *subscription) drop(p *partition) {
	p.dead = true
	for _, e := range p.buffer {
		s.bytes -= e.size
	}
	for _, e := range p.window {
		if e.state != done {
			s.bytes -= e.size
		}
		if e.state == out {
			s.open--
		}
	}
	p.buffer, p.window, p.keys = nil, nil, nil
	s.checkIdle()
}

// abandon drops all partitions: the group has given them to others, or may have.
func (s *subscription) abandon() {
	s.assign(nil, false)
}

// led renews who leads the partitions.
func (s *subscription) led(topics map[string]*topic) (leaders []int32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.order {
		if t := topics[p.topic]; t != nil && p.id < len(t.leaders) {
			p.leader = t.leaders[p.id]
		}
		if !slices.Contains(leaders, p.leader) {
			leaders = append(leaders, p.leader)
		}
	}
	return leaders
}

// commits returns the offsets that may be committed and are not.
func (s *subscription) commits() map[tp]int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out map[tp]int64
	for _, p := range s.order {
		if at := p.settledPrefix(); at > p.committed {
			if out == nil {
				out = make(map[tp]int64)
			}
			out[p.tp] = at
		}
	}
	return out
}

// committed notes what the broker has. An offset beyond what is settled was that of a log that has gone meanwhile.
func (s *subscription) committed(offsets map[tp]int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for at, offset := range offsets {
		if p := s.parts[at]; p != nil && offset <= p.settledPrefix() {
			p.committed = offset
		}
	}
	s.count()
}

// countSettled counts what a crash would bring again. Suppose a broker that is back has not answered the first commit yet, and
// the handlers are quick: all that was fetched would be delivered meanwhile, and the next crash would bring all of it again.
func (s *subscription) countSettled() {
	if s.spec.Group == "" {
		return // nothing is committed, and nothing comes again
	}
	if s.uncommitted++; s.uncommitted < s.c.set.maxUncommitted/2 {
		return
	}
	select {
	case s.full <- struct{}{}:
	default:
	}
}

// count counts again what is settled and not committed. What is settled behind a message that is not, max_ahead bounds. s.mu
// is held.
func (s *subscription) count() {
	limit := s.c.set.maxUncommitted
	before := s.uncommitted
	s.uncommitted = 0
	for _, p := range s.order {
		if p.committed >= 0 {
			s.uncommitted += int(min(max(0, p.settledPrefix()-p.committed), int64(limit)))
		}
	}
	if before >= limit && s.uncommitted < limit {
		s.wake()
	}
}

// missed notes that messages are gone that were to be delivered.
func (s *subscription) missed(n int64, err error) { s.gap(brokers.GapOverflow, n, err) }

// gap lets the sink be told why messages are not, or not yet, delivered.
func (s *subscription) gap(reason string, missed int64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	s.gaps = append(s.gaps, brokers.Gap{Since: now, Until: now, Reason: reason, Missed: missed, Err: err})
	s.wake()
}

func position(e *entry) string {
	var room [256]byte // a topic has at most 249
	b := append(room[:0], e.p.topic...)
	b = append(b, '/')
	b = strconv.AppendInt(b, int64(e.p.id), 10)
	b = append(b, '@')
	return string(strconv.AppendInt(b, e.offset, 10))
}
