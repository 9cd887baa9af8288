package kafka

import (
	"context"
	"errors"
	"slices"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/leavegroup"
)

// A member is the keeper of a subscription with a group. It speaks Kafka's group protocol itself rather than through the
// client's ConsumerGroup, which sends no heartbeats once a rebalance has begun, so that a handler may not take longer than
// a session then, waits 5 s after an error, and holds Close for as long as the group takes.
//
// A generation's life: join and learn the partitions; fetch, deliver and commit; when the group rebalances, stop
// delivering, wait until what is being handled is settled, with heartbeats going on, commit, and join again. What was
// fetched of a partition is kept if the next generation gives it to this member again.
type member struct {
	k     *keeper
	s     *subscription
	c     *conn
	group string

	id         string
	generation int32
	topics     map[string]*topic
	shape      []string // of the topics joined with, see shapeOf
	// seen are the partitions that were there when the group was joined first: with StartNow a new group begins at the end
	// of those, and at the beginning of what comes later.
	seen   map[tp]bool
	beaten time.Time // of the last heartbeat that was answered
	failed time.Time // the last commit that failed
	kept   int32     // the generation whose partitions s has; 0 is none
}

func newMember(k *keeper) *member {
	return &member{k: k, s: k.s, c: k.s.c, group: k.s.spec.Group}
}

// run is a member until the keeper ends. It returns an error where the broker refuses us.
func (m *member) run() error {
	defer m.leave()
	for {
		err := m.turn()
		switch {
		case isClosed(m.k.ending):
			return nil
		case err == nil, errors.Is(err, kafkago.MemberIDRequired), errors.Is(err, kafkago.RebalanceInProgress):
		case errors.Is(err, kafkago.UnknownMemberId), errors.Is(err, kafkago.FencedInstanceID):
			m.id = ""
			m.abandon()
		case errors.Is(err, kafkago.IllegalGeneration):
			m.abandon()
		default:
			if err := m.k.judge(err); err != nil {
				return err
			}
			if m.giveUpInTime(); m.k.trouble != "" {
				m.abandon() // the group will not have us for longer than that
			}
			if !m.k.pause(m.k.wait) {
				return nil
			}
		}
	}
}

// turn is one generation: from joining to the next rebalance.
func (m *member) turn() error {
	topics, err := m.s.topics(m.k.ctx)
	if err != nil {
		return err
	}
	m.topics = topics
	names := m.s.wanted(topics)
	m.see(names)
	if len(names) == 0 {
		m.abandon()
		m.k.well() // what is published later is in a topic that does not exist yet
		m.k.pause(lookEvery)
		return nil
	}
	m.shape = shapeOf(topics, names)
	parts, err := m.join(names)
	if err != nil {
		return err
	}
	starts, err := m.starts(parts)
	if err != nil {
		return err
	}
	// Suppose another member had a partition in a generation between ours: what we have fetched of it is old.
	m.s.assign(starts, m.kept != 0 && m.generation == m.kept+1)
	m.kept, m.beaten = m.generation, time.Now()
	if err := m.commit(m.k.ctx); err != nil { // a new group's place is known from now on
		return err
	}
	m.k.well()
	return m.live()
}

// live fetches, commits and shows signs of life until the group rebalances.
func (m *member) live() error {
	fetch := m.s.startFetching(m.k.ctx)
	defer fetch.stop()
	fetch.lead(m.topics)
	beat := time.NewTicker(m.c.set.heartbeat)
	defer beat.Stop()
	commit := time.NewTicker(m.c.set.commit)
	defer commit.Stop()
	for {
		var err error
		select {
		case <-m.k.ending:
			return nil
		case <-m.s.full:
			err = m.commitNow()
		case <-commit.C:
			err = m.commitNow()
		case <-beat.C:
			err = m.heartbeat()
			m.noteUnlessMoving(beating, err)
			if err == nil && m.changed() {
				err = kafkago.RebalanceInProgress
			}
			fetch.lead(m.topics)
		}
		switch {
		case errors.Is(err, kafkago.RebalanceInProgress):
			fetch.stop()
			return m.handOver()
		case lost(err), refused(err):
			return err
		case err != nil:
			// Suppose the broker is away for longer than a session, and knows this member when it is back: heartbeats are
			// answered as if nothing had happened, and without joining again nothing would ever be fetched.
			if m.giveUpInTime(); m.kept == 0 {
				return err
			}
		}
	}
}

// commitNow commits, and delivers nothing while that fails. A broker that is away is not asked every commit_interval.
func (m *member) commitNow() error {
	if time.Since(m.failed) < pauseOnError {
		return nil
	}
	err := m.commit(m.k.ctx)
	if err != nil {
		m.failed = time.Now()
	}
	m.s.hold(err != nil)
	m.noteUnlessMoving(committing, err)
	return err
}

// noteUnlessMoving notes what a commit or a heartbeat ended with. That the group rebalances, or goes on without us, is no trouble.
func (m *member) noteUnlessMoving(what int, err error) {
	if lost(err) || errors.Is(err, kafkago.RebalanceInProgress) {
		err = nil
	}
	m.s.note(what, err)
}

// handOver stops delivering and waits until what is being handled is settled, at most as long as the group waits for us.
func (m *member) handOver() error {
	m.s.pause()
	limit := time.NewTimer(m.c.set.rebalance * 3 / 4)
	defer limit.Stop()
	beat := time.NewTicker(m.c.set.heartbeat)
	defer beat.Stop()
	for settled := m.s.settled(); ; {
		select {
		case <-settled:
			return m.commit(m.k.ctx)
		case <-limit.C:
			err := m.commit(m.k.ctx)
			m.abandon() // others may have what is still being handled
			return err
		case <-beat.C:
			if err := m.heartbeat(); lost(err) {
				return err
			}
		case <-m.k.ending:
			return nil
		}
	}
}

// lost reports whether err says that the group goes on without us.
func lost(err error) bool {
	return errors.Is(err, kafkago.UnknownMemberId) || errors.Is(err, kafkago.IllegalGeneration) ||
		errors.Is(err, kafkago.FencedInstanceID)
}

// abandon drops the partitions, since others may have them.
func (m *member) abandon() {
	m.kept = 0
	m.s.abandon()
}

// giveUpInTime abandons the partitions where no heartbeat was answered for as long as a session.
func (m *member) giveUpInTime() {
	if m.kept != 0 && time.Since(m.beaten) > m.c.set.session {
		m.abandon()
	}
}

func (m *member) heartbeat() error {
	ctx, cancel := context.WithTimeout(m.k.ctx, m.c.set.session/2)
	defer cancel()
	r, err := ask[*beatReply](ctx, m.c, &beat{group: m.group, generation: m.generation, member: m.id})
	if err != nil {
		return err
	}
	err = codeError(r.code)
	if err == nil || errors.Is(err, kafkago.RebalanceInProgress) {
		m.beaten = time.Now()
	}
	return err
}

// changed reports whether there are topics or partitions that were not there when the group was joined.
func (m *member) changed() bool {
	topics, err := m.s.topics(m.k.ctx)
	if err != nil {
		return false
	}
	m.topics = topics
	return !slices.Equal(shapeOf(topics, m.s.wanted(topics)), m.shape)
}

// shapeOf tells whether the partitions to share have changed.
func shapeOf(topics map[string]*topic, names []string) []string {
	out := make([]string, 0, 2*len(names))
	for _, name := range names {
		out = append(out, name, string(rune(len(topics[name].ids))))
	}
	return out
}

// see notes what is there when the group is joined first.
func (m *member) see(names []string) {
	if m.seen != nil {
		return
	}
	m.seen = make(map[tp]bool)
	for _, name := range names {
		for _, id := range m.topics[name].ids {
			m.seen[tp{name, id}] = true
		}
	}
}

// commit commits the settled prefix of each partition, for this generation only.
func (m *member) commit(ctx context.Context) error {
	offsets := m.s.commits()
	if len(offsets) == 0 {
		m.s.committed(nil)
		return nil
	}
	err := m.c.commitOffsets(ctx, holder{m.group, m.generation, m.id}, offsets)
	m.s.committed(offsets)
	return err
}

// starts finds where to begin each partition.
func (m *member) starts(parts []tp) ([]start, error) {
	committed, err := m.c.committedOffsets(m.k.ctx, m.group, parts)
	if err != nil {
		return nil, err
	}
	var first, last []tp
	for _, at := range parts {
		switch {
		case committed[at] >= 0:
		case m.s.spec.Start != 0 && m.seen[at]:
			last = append(last, at)
		default:
			first = append(first, at)
		}
	}
	begin, err := m.c.offsets(m.k.ctx, first, kafkago.FirstOffset)
	if err != nil {
		return nil, err
	}
	end, err := m.c.offsets(m.k.ctx, last, kafkago.LastOffset)
	if err != nil {
		return nil, err
	}
	out := make([]start, 0, len(parts))
	for _, at := range parts {
		st := start{tp: at, leader: -1, next: committed[at], committed: committed[at]}
		if st.committed < 0 {
			st.next = max(begin[at], end[at]) // one of them is not in its map
		}
		if t := m.topics[at.topic]; t != nil && at.id < len(t.leaders) {
			st.leader = t.leaders[at.id]
		}
		out = append(out, st)
	}
	return out, nil
}

// leave commits once more and tells the group that we go, so that it need not wait for the session's end.
func (m *member) leave() {
	if m.id == "" {
		return
	}
	ctx, cancel := context.WithTimeout(m.k.base, leaveTimeout)
	defer cancel()
	if m.kept != 0 {
		_ = m.commit(ctx) // what is not committed is delivered again
	}
	_, _ = ask[*leavegroup.Response](ctx, m.c, &leavegroup.Request{
		GroupID: m.group, MemberID: m.id, Members: []leavegroup.RequestMember{{MemberID: m.id}},
	})
}
