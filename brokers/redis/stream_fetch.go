package redis

import (
	"context"
	"slices"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/eventbus-go/eventbus/brokers"
)

// fetchBytes is about how many bytes one read brings at most.
const fetchBytes = 8 << 20

// readNew reads what no member has had, and waits for it until it is time to look around.
func (m *member) readNew(ctx context.Context, room int) error {
	keys := m.nextKeys(room)
	wait := m.patience(time.Now())
	if len(keys) == 0 {
		sleep(ctx, wait)
		return nil
	}
	count := max(1, min(room/len(keys), (m.prefetch+3)/4, fetchBytes/m.size/len(keys)))
	args := make([]any, 0, 9+2*len(keys))
	args = append(args, "xreadgroup", "group", m.group, m.consumer, "count", count, "block", max(1, wait.Milliseconds()), "streams")
	for _, key := range keys {
		args = append(args, key)
	}
	for range keys {
		args = append(args, ">")
	}
	if err := m.buffer.do(ctx, m.client, args...); err != nil {
		return err
	}
	defer m.buffer.shrink()
	m.noteDenied(nil)
	return m.take(ctx, m.buffer.b, count)
}

// take delivers what XREADGROUP replied.
func (m *member) take(ctx context.Context, raw []byte, count int) error {
	r := replyReader{raw}
	var s *source
	var b batch
	flush := func() (err error) {
		if s != nil {
			err = m.deliver(ctx, s, &b)
		}
		b = batch{}
		return err
	}
	n := 0
	var failed error
	err := r.streams(func(key []byte, e *rawEntry) {
		if s == nil || s.key != string(key) {
			if err := flush(); err != nil && failed == nil {
				failed = err
			}
			if s = m.byKey[string(key)]; s == nil {
				return
			}
			few := min(count, len(raw)/m.size+1) // about how many came
			b.ids = make([]entryID, 0, few)
			b.deliveries = make([]brokers.Delivery, 0, few)
		}
		m.read.read(&b, s.channel, s.key, 1, e)
		if got := len(b.ids); got > 0 {
			s.seen = later(s.seen, b.ids[got-1])
		}
		n++
	})
	if err := flush(); err != nil && failed == nil {
		failed = err
	}
	if n > 0 {
		m.size = max(64, (3*m.size+len(raw)/n)/4)
	}
	if err != nil {
		return err
	}
	return failed
}

// nextKeys returns the streams that the next read is of: all, unless there is not room for one message of each.
func (m *member) nextKeys(room int) []string {
	all := m.all()
	n := min(len(all), room)
	keys := make([]string, 0, n)
	for i := range n {
		keys = append(keys, all[(m.turn+i)%len(all)].key)
	}
	if n < len(all) {
		m.turn = (m.turn + n) % len(all)
	}
	return keys
}

// patience is how long a read waits for new messages. While the sink has some it may ask for a redelivery, which must
// not wait for the end of a long read.
func (m *member) patience(now time.Time) time.Duration {
	wait := m.polled.Add(pollEvery).Sub(now)
	if m.heldCount() > 0 {
		wait = min(wait, soon)
	}
	if due := m.nextDue(); !due.IsZero() {
		wait = min(wait, due.Sub(now))
	}
	if len(m.all()) > m.prefetch {
		wait = min(wait, soon)
	}
	return max(time.Millisecond, wait)
}

// soon is how long a read waits where something may come that it does not see.
const soon = 50 * time.Millisecond

// nextDue is when the next parked entry is due, as far as this process knows; zero for none.
func (m *member) nextDue() (next time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.sources {
		if at := s.parked.nextDue; !at.IsZero() && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	return next
}

func (m *member) setDue(s *source, at time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s.nextDue = at
}

// anyDue reports whether a parked entry is due.
func (m *member) anyDue() bool {
	at := m.nextDue()
	return !at.IsZero() && !at.After(time.Now())
}

// readOwn reads what this consumer was given and has not seen: before the process was started, where the consumer has
// a name of its own, or in a reply that was lost with its connection. It reports whether it read any.
func (m *member) readOwn(ctx context.Context, room int) (bool, error) {
	for _, s := range m.all() {
		if s.ownDone {
			continue
		}
		for _, one := range []*source{s, s.parked} {
			read, err := m.readOwnOf(ctx, one, room)
			if read || err != nil {
				return read, err
			}
		}
		s.ownDone = true
	}
	m.served = true
	return false, nil
}

func (m *member) readOwnOf(ctx context.Context, s *source, room int) (bool, error) {
	list, err := m.pending(ctx, s, 0, s.ownPage, ownPage, m.consumer)
	if err != nil || len(list) == 0 {
		return false, err
	}
	list, more := m.unseen(s, list, room)
	if len(list) == 0 && !more {
		return true, nil // the next page
	}
	if m.conn.set.stream.consumer != "" && !m.served {
		return true, m.claim(ctx, s, list, 0)
	}
	return true, m.resume(ctx, s, list)
}

// ownPage is how many pending entries are looked at in one go.
const ownPage = 500

// unseen returns the entries of list that are not held, at most room, and moves the page on.
func (m *member) unseen(s *source, list []goredis.XPendingExt, room int) (out []goredis.XPendingExt, full bool) {
	for _, p := range list {
		id, ok := readID(p.ID)
		if !ok {
			continue
		}
		if !m.holds(s, id) {
			if len(out) == room {
				return out, true
			}
			out = append(out, p)
		}
		s.ownPage = id.after()
	}
	return out, false
}

// pending lists pending entries from an id on; none where there is no such stream.
func (m *member) pending(
	ctx context.Context, s *source, idle time.Duration, from entryID, n int, consumer string,
) ([]goredis.XPendingExt, error) {
	list, err := m.client.XPendingExt(ctx, &goredis.XPendingExtArgs{
		Stream: s.key, Group: m.group, Idle: idle, Start: from.String(), End: "+", Count: int64(n), Consumer: consumer,
	}).Result()
	if s.parked == nil && isNoGroup(err) {
		return nil, nil
	}
	return list, err
}

// claim takes pending entries over that were idle for so long, and delivers them, each with its next attempt: whoever
// had them may have seen them.
func (m *member) claim(ctx context.Context, s *source, list []goredis.XPendingExt, idle time.Duration) error {
	if len(list) == 0 {
		return nil
	}
	attempts := make(map[string]int, len(list))
	args := []any{"xclaim", s.key, m.group, m.consumer, idle.Milliseconds()}
	for _, p := range list {
		attempts[p.ID] = int(p.RetryCount) + 1
		args = append(args, p.ID)
	}
	return m.claimWith(ctx, s, attempts, args)
}

// resume delivers what was given to this process and never reached it: the attempt is the same.
func (m *member) resume(ctx context.Context, s *source, list []goredis.XPendingExt) error {
	for len(list) > 0 {
		count := list[0].RetryCount
		attempts := make(map[string]int)
		args := []any{"xclaim", s.key, m.group, m.consumer, 0}
		list = slices.DeleteFunc(list, func(p goredis.XPendingExt) bool {
			if p.RetryCount != count {
				return false
			}
			attempts[p.ID] = int(count)
			args = append(args, p.ID)
			return true
		})
		if err := m.claimWith(ctx, s, attempts, append(args, "retrycount", count)); err != nil {
			return err
		}
	}
	return nil
}

// claimWith executes an XCLAIM and delivers what it replies.
func (m *member) claimWith(ctx context.Context, s *source, attempts map[string]int, args []any) error {
	raw, err := rawDo(ctx, m.client, args...)
	if err != nil {
		return err
	}
	var b batch
	r := replyReader{raw}
	if err := r.entries(func(e *rawEntry) { m.read.read(&b, s.channel, s.key, attempts[string(e.id)], e) }); err != nil {
		return err
	}
	return m.deliver(ctx, s, &b)
}
