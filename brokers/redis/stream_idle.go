package redis

import (
	"context"
	"time"
)

// The lease of a pending entry is how long it has been idle, by the server's clock; see clock.
//
// Suppose that clock jumps an hour back: what was delivered before has a time of delivery in the future, and is not idle
// for an hour, even where its consumer is dead. Such entries say that they have been idle for 0 ms, and so does one that was
// delivered just now, for which it is true: both may be given the present time. A member does that once it has found such a jump,
// and for each stream that is new to it: the clock may have jumped while nobody looked.
//
// Suppose it jumps an hour ahead: everything looks idle, although the consumers live and prolong what they have. So
// nothing is taken over until they had the time for that.

// settleIdleScript gives pending entries that are delivered in the future the present time, and leaves them to their
// consumers. KEYS: the stream. ARGV: the group, the first id, and how many to look at. It returns the last id that it
// looked at, empty where there are no more.
var settleIdleScript = newScript(`
local list = redis.pcall('XPENDING', KEYS[1], ARGV[1], ARGV[2], '+', ARGV[3])
if list.err then return '' end
for _, p in ipairs(list) do
  if p[3] <= 0 then redis.call('XCLAIM', KEYS[1], ARGV[1], p[2], 0, p[1], 'JUSTID') end
end
if #list < tonumber(ARGV[3]) then return '' end
return list[#list][1]`)

// idlePage is how many entries one script looks at: the server does nothing else meanwhile.
const idlePage = 100

// settleIdle makes the idle times of a channel's pending entries right, where that was not done since the clock has
// jumped back.
func (m *member) settleIdle(ctx context.Context, s *source) error {
	if s.idleRight {
		return nil
	}
	for _, one := range []*source{s, s.parked} {
		for from, more := (entryID{}), true; more; {
			raw, err := eval(ctx, m.client, settleIdleScript, []string{one.key}, m.group, from.String(), idlePage)
			if err != nil {
				return err
			}
			text, err := (&replyReader{raw}).bulk()
			if err != nil {
				return err
			}
			if from, more = readID(string(text)); more {
				from = from.after()
			}
		}
	}
	s.idleRight = true
	return nil
}

// noteJump has what is pending spared, or looked at again, where the server's clock has jumped.
func (m *member) noteJump(by time.Duration) {
	if by > 0 {
		m.spareUntil = time.Now().Add(m.conn.set.stream.lease)
	}
	if by < 0 {
		for _, s := range m.all() {
			s.idleRight = false
		}
	}
}

// spares reports whether what looks left behind may still be somebody's.
func (m *member) spares() bool { return time.Now().Before(m.spareUntil) }
