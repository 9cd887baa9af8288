package redis

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"
)

// Delays are counted by the server's clock, so that members whose clocks differ agree. That clock may jump: by hand, by
// an NTP daemon that comes late, because a virtual machine was copied or another server has taken over. What is parked for an hour
// would all come at once, or an hour late.
//
// So delays are counted in a time of their own, the server's less a skew that is kept beside the streams. Each member
// compares how far the server's clock has moved between two looks with how far its own has, which is monotonic. Where
// the two differ the clock has jumped, and the member adds the difference to the skew, which only one member can do:
// it says which skew it has seen.
//
// Suppose A and B look once a second, and the clock jumps an hour ahead between two looks of both. A finds the server
// an hour ahead of where it should be, and raises the skew by an hour. B has not looked since, and parks a message: it
// counts from its last look on, so that the jump does not touch it. Then B looks and finds the jump, too, but also a
// skew that takes it back: nothing is to do.
//
// Suppose B's machine was stopped for ten minutes, clock and all. To B the server has jumped, and to A it has not. So
// members note once in a while up to when they found the clock right; B finds a note of some seconds ago, which it
// could not find after a jump, and believes it.
//
// While no member looks nobody can tell: a clock that is ahead has counted that time, as it should where all services
// are down for an hour. One that is behind the last note has jumped for sure, and goes on from there.

const (
	// jumpMin is how much less or more than our own clock the server's has to move to have jumped. What is less is a
	// delay that is so much too long or too short.
	jumpMin = 5 * time.Second
	// vouchEvery is how often the members, taken together, note that they found the clock right.
	vouchEvery = 5 * time.Second
)

// A reading is one look at the server's clock.
type reading struct {
	sent, got time.Time     // when, by our own clock
	server    time.Duration // what it said, since 1970
	skew      time.Duration // what was taken off it then
	seen      time.Duration // what it said when a member found it right last; 0 for never
}

// after is how far a hand has moved beyond what our own clock says, since an earlier reading; 0 for next to nothing. The hand is
// the server's, or that of delays. What is not known of our own, how long the replies took, is counted as moved beyond: a
// delay is rather too long by that than too short.
func (r *reading) after(last *reading, hand func(*reading) time.Duration) time.Duration {
	moved, least, most := hand(r)-hand(last), r.sent.Sub(last.got), r.got.Sub(last.sent)
	if moved >= least-jumpMin && moved <= most+jumpMin {
		return 0
	}
	return moved - least
}

// ofServer and ofDelays are the two times of a reading.
func ofServer(r *reading) time.Duration { return r.server }
func ofDelays(r *reading) time.Duration { return r.server - r.skew }

// A finding is what a reading says.
type finding struct {
	jumped time.Duration // how far the server's clock has jumped since the last reading
	skew   time.Duration // what is to be taken off it from now on
	vouch  bool          // whether to note that the clock is right
	unsure bool          // whether it may have jumped before we looked for the first time
}

// judge compares a reading with the last one, nil for none.
func judge(last *reading, r *reading) (f finding) {
	f.skew = r.skew
	age := r.server - r.seen
	if last == nil {
		if r.seen > 0 && age < -jumpMin {
			f.jumped, f.skew = age, r.skew+age
		}
		f.unsure = r.seen > 0 && age > vouchEvery+jumpMin
		return f
	}
	f.jumped = r.after(last, ofServer)
	if f.jumped == 0 {
		f.vouch = age >= vouchEvery || age < 0
		return f
	}
	others := r.got.Sub(last.sent) + vouchEvery + jumpMin // an older note cannot be the last one
	if age < -jumpMin || age > others {
		f.skew += r.after(last, ofDelays)
	}
	return f
}

// A clock is what a member knows of the time that delays are counted in. Its methods are safe for concurrent use.
type clock struct {
	mu   sync.Mutex
	last *reading
}

// earliest and latest are the bounds of what time it is, in ms: what is parked counts from the latest, and what is due
// is so at the earliest, so that nothing comes too early. It has to have been read.
func (c *clock) earliest() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return (ofDelays(c.last) + time.Since(c.last.got)).Milliseconds()
}

func (c *clock) latest() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return (ofDelays(c.last) + time.Since(c.last.sent) + time.Millisecond - 1).Milliseconds()
}

func (c *clock) set(r reading) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = &r
}

// A clockLook asks for the server's clock as part of a pipeline.
type clockLook struct {
	sent time.Time
	now  *goredis.TimeCmd
	note *goredis.ZSliceCmd
}

func (c *stream) askClock(ctx context.Context, pipe goredis.Pipeliner) clockLook {
	return clockLook{time.Now(), pipe.Time(ctx), pipe.ZRangeWithScores(ctx, c.set.stream.clockKey(), 0, -1)}
}

// reading returns what was replied. An account that may not read the note takes the clock for what it is.
func (l clockLook) reading() reading {
	r := reading{sent: l.sent, got: time.Now(), server: time.Duration(l.now.Val().UnixNano())}
	for _, z := range l.note.Val() {
		ms := time.Duration(z.Score) * time.Millisecond
		switch z.Member {
		case "skew":
			r.skew = ms
		case "seen":
			r.seen = ms
		}
	}
	return r
}

// setClockScript notes the skew, and that the clock was found right. KEYS: the note. ARGV: the skew that was read, the
// new one, and what the clock said. It returns the skew that there is now: another one where somebody else was first. A
// server whose memory is full takes the note as well, since it comes after a command that writes nothing: see ensureParked.
var setClockScript = newScript(`
local skew = tonumber(redis.call('ZSCORE', KEYS[1], 'skew') or '0')
if skew == tonumber(ARGV[1]) then
  redis.call('ZREM', KEYS[1], '')
  redis.call('ZADD', KEYS[1], ARGV[2], 'skew', ARGV[3], 'seen')
  skew = tonumber(ARGV[2])
end
return string.format('%.0f', skew)`)

// readClock takes over what a look has found, and reports it. Where the server does not write just now, time goes on from the
// last look, so that a jump is found again by the next one, and fetching goes on.
func (m *member) readClock(ctx context.Context, l clockLook) (finding, error) {
	r := l.reading()
	f := judge(m.clock.last, &r)
	if f.vouch || f.skew != r.skew {
		skew, err := m.setSkew(ctx, &r, f.skew)
		switch {
		case denied(err):
			m.conn.warnings.set("clock", "a jump of the server's clock hastens or holds up what waits: "+err.Error())
			if m.clock.last != nil && hasPrefix(err, unwritten) {
				return f, nil
			}
			skew = r.skew
		case err != nil:
			return f, err
		default:
			m.conn.warnings.set("clock", "")
		}
		r.skew = skew
	}
	m.clock.set(r)
	return f, nil
}

func (m *member) setSkew(ctx context.Context, r *reading, skew time.Duration) (time.Duration, error) {
	raw, err := eval(ctx, m.client, setClockScript, []string{m.conn.set.stream.clockKey()},
		r.skew.Milliseconds(), skew.Milliseconds(), r.server.Milliseconds())
	if err != nil {
		return 0, err
	}
	text, err := (&replyReader{raw}).bulk()
	if err != nil {
		return 0, err
	}
	ms, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", errReply, err)
	}
	return time.Duration(ms) * time.Millisecond, nil
}
