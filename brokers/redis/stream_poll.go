package redis

import (
	"context"
	"time"

	goredis "github.com/redis/go-redis/v9"
)

// pollPage is how many entries that others left behind one poll takes of each stream.
const pollPage = 200

// A look is what a poll asks about one channel.
type look struct {
	source *source
	idle   *goredis.XPendingExtCmd // left behind in the channel's stream
	parked *goredis.XPendingExtCmd // left behind in the parked one
	due    *goredis.ZSliceCmd      // the parked entry that is due first
}

// poll takes over what members left behind that are gone, promotes what is due, and finds new channels. Everything is
// asked in one pipeline. XAUTOCLAIM would do the first with one command, but says nothing of attempts.
func (m *member) poll(ctx context.Context, room int) error {
	m.polled = time.Now()
	if m.names.wild() {
		if err := m.discover(ctx); err != nil {
			return err
		}
	}
	looks, f, err := m.look(ctx, max(1, min(room, pollPage)))
	if err != nil {
		return err
	}
	m.noteJump(f.jumped)
	for _, l := range looks {
		if err := m.takeOverBoth(ctx, l); err != nil {
			return err
		}
		if f.unsure {
			m.setDue(l.source.parked, time.Time{}) // the next poll looks again, when whoever knows more had the time to say so
			continue
		}
		if err := m.promoteDue(ctx, l); err != nil {
			return err
		}
	}
	return nil
}

// look asks about all channels, and what time it is.
func (m *member) look(ctx context.Context, n int) ([]look, finding, error) {
	all := m.all()
	looks := make([]look, len(all))
	pipe := m.client.Pipeline()
	clock := m.conn.askClock(ctx, pipe)
	for i, s := range all {
		args := goredis.XPendingExtArgs{
			Stream: s.key, Group: m.group, Idle: m.conn.set.stream.lease, Start: "-", End: "+", Count: int64(n),
		}
		looks[i].source = s
		looks[i].idle = pipe.XPendingExt(ctx, &args)
		args.Stream = s.parked.key
		looks[i].parked = pipe.XPendingExt(ctx, &args)
		looks[i].due = pipe.ZRangeWithScores(ctx, s.parked.due, 0, 0)
	}
	if err := execute(ctx, pipe); err != nil {
		return nil, finding{}, err
	}
	if err := clock.now.Err(); err != nil {
		return nil, finding{}, err
	}
	f, err := m.readClock(ctx, clock)
	return looks, f, err
}

// takeOverBoth takes over what members left behind that are gone, of a channel's stream and of the parked one.
func (m *member) takeOverBoth(ctx context.Context, l look) error {
	if err := m.settleIdle(ctx, l.source); err != nil {
		return err
	}
	idle, err := l.idle.Result()
	if err != nil {
		return err
	}
	if m.spares() {
		return nil
	}
	if err := m.takeOver(ctx, l.source, idle); err != nil {
		return err
	}
	parked, err := l.parked.Result()
	if err != nil {
		return nil // nothing is parked
	}
	return m.takeOver(ctx, l.source.parked, parked)
}

// takeOver claims entries whose leases ran out, as far as there is room.
func (m *member) takeOver(ctx context.Context, s *source, list []goredis.XPendingExt) error {
	room := m.room()
	var mine []goredis.XPendingExt
	for _, p := range list {
		if id, ok := readID(p.ID); ok && !m.holds(s, id) && len(mine) < room {
			mine = append(mine, p)
		}
	}
	return m.claim(ctx, s, mine, m.conn.set.stream.lease)
}

// promoteDue promotes what is due of a channel, as far as there is room.
func (m *member) promoteDue(ctx context.Context, l look) error {
	s := l.source.parked
	first, err := l.due.Result()
	if err != nil || len(first) == 0 {
		m.setDue(s, time.Time{})
		return ignoreReply(err)
	}
	wait := time.Duration(int64(first[0].Score)-m.clock.earliest()) * time.Millisecond
	if wait > 0 {
		m.setDue(s, time.Now().Add(wait))
		return nil
	}
	room := m.room()
	if room <= 0 {
		m.setDue(s, time.Time{}) // the next poll looks again, when there is room
		return nil
	}
	return m.promote(ctx, s, min(room, pollPage))
}
