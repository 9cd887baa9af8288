package redis

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"
)

// What is delivered again later is parked: moved out of its channel's stream into one beside it, which belongs to the
// group, so that a message which waits for an hour does not keep the stream from being trimmed for an hour. A sorted
// set says when each parked entry is due. Entries that were promoted, and are being handled, are pending in the group
// of that stream.
//
// Each step is a script, which Redis runs, and writes to its append-only file, as a whole. So a server or a member
// that is killed leaves an entry in exactly one place:
//
//	pending in the channel's stream   killed before park ran: the lease runs out, and another member claims it
//	parked and in the set             killed after park, or after parkAgain: whichever member looks first when it is due promotes it
//	parked and pending                killed after promote, the reply read or not: the lease runs out
//	nowhere                           finish ran: it was settled; killed before it: the lease runs out, and it comes twice
//
// When an entry is due is said in the time of a clock that does not jump: see clock.

// ensureParked returns the part of a script that makes the group of the parked stream where it is not there, or ends the script
// with the server's error before anything was moved: what is parked without a group could not be promoted.
//
// A server whose memory is full denies the first command of a script that may take more, and none after one that wrote. So the
// group is made after a command that writes nothing: it is small, and parking is how a consumer goes on that cannot handle a
// message now.
func ensureParked(key string) string {
	return `
if redis.pcall('XPENDING', ` + key + `, ARGV[1]).err then
  redis.call('XDEL', ` + key + `, '0-0')
  local made = redis.pcall('XGROUP', 'CREATE', ` + key + `, ARGV[1], '$', 'MKSTREAM')
  if made.err then return made end
end`
}

// parkScript moves entries of a channel's stream. KEYS: the stream, the parked one, the set. ARGV: the group, and for
// each entry its id, when it is due in ms and how many attempts there were. An entry that is not pending any more is
// somebody else's, and stays where it is. So does one with more fields than a script can pass on, 8000 values less what else is on
// Lua's stack: it comes again when its lease has run out. It returns how many entries are gone from the stream.
var parkScript = newScript(ensureParked("KEYS[2]") + `
local gone = 0
for i = 2, #ARGV, 3 do
  local e = redis.call('XRANGE', KEYS[1], ARGV[i], ARGV[i])
  local movable = not e[1] or #e[1][2] <= 7000
  if movable and redis.call('XACK', KEYS[1], ARGV[1], ARGV[i]) == 1 then
    if e[1] then
      local id = redis.call('XADD', KEYS[2], '*', unpack(e[1][2]))
      redis.call('ZADD', KEYS[3], ARGV[i + 1], id .. ' ' .. ARGV[i + 2])
    else
      gone = gone + 1
    end
  end
end
return gone`)

// parkAgainScript parks entries that were promoted. KEYS: the parked stream, the set. ARGV as for parkScript.
var parkAgainScript = newScript(`
for i = 2, #ARGV, 3 do
  if redis.call('XACK', KEYS[1], ARGV[1], ARGV[i]) == 1 then
    redis.call('ZADD', KEYS[2], ARGV[i + 1], ARGV[i] .. ' ' .. ARGV[i + 2])
  end
end
return 0`)

// promoteScript makes parked entries that are due pending. KEYS: the parked stream, the set. ARGV: the group, the
// consumer, how many at most, and what time it is in ms. It returns in how many ms the next one is due, empty for
// none, and the attempt and the entry of each. An entry leaves the set only once it is pending.
var promoteScript = newScript(ensureParked("KEYS[1]") + `
local out = {}
for _, m in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', ARGV[4], 'LIMIT', 0, ARGV[3])) do
  local id, n = string.match(m, '^(%S+) (%d+)$')
  if id then
    n = string.format('%d', n + 1)
    local e = redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, id, 'RETRYCOUNT', n, 'FORCE')
    if e[1] then out[#out + 1] = {n, e[1]} end
  end
  redis.call('ZREM', KEYS[2], m)
end
local first = redis.call('ZRANGE', KEYS[2], 0, 0, 'WITHSCORES')
local wait = ''
if first[2] then wait = string.format('%.0f', first[2] - ARGV[4]) end
return {wait, out}`)

// finishScript settles parked entries. KEYS: the parked stream. ARGV: the group, the ids.
var finishScript = newScript(`
for i = 2, #ARGV do
  redis.call('XACK', KEYS[1], ARGV[1], ARGV[i])
  redis.call('XDEL', KEYS[1], ARGV[i])
end
return 0`)

// dismissScript removes a consumer that has nothing pending. KEYS: the stream. ARGV: the group, the consumer.
var dismissScript = newScript(`
if #redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[2]) == 0 then
  return redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2])
end
return -1`)

// A script is sent by its hash, once the server knows it.
type script struct{ source, hash string }

func newScript(source string) script { return script{source, goredis.NewScript(source).Hash()} }

// eval runs a script, of which the server need not have heard yet, and returns the bytes of its reply.
func eval(ctx context.Context, client *goredis.Client, s script, keys []string, args ...any) ([]byte, error) {
	raw, err := evalAs(ctx, client, "evalsha", s.hash, keys, args)
	if goredis.HasErrorPrefix(err, "NOSCRIPT") {
		return evalAs(ctx, client, "eval", s.source, keys, args)
	}
	return raw, err
}

func evalAs(ctx context.Context, client *goredis.Client, command, script string, keys []string, args []any) ([]byte, error) {
	all := make([]any, 0, 3+len(keys)+len(args))
	all = append(all, command, script, len(keys))
	for _, key := range keys {
		all = append(all, key)
	}
	return rawDo(ctx, client, append(all, args...)...)
}

// rawDo executes a command and returns the bytes of its reply, or the error that the reply is.
func rawDo(ctx context.Context, client *goredis.Client, args ...any) ([]byte, error) {
	var b replyBuffer
	err := b.do(ctx, client, args...)
	return b.b, err
}

// A parking is an entry that is delivered again later.
type parking struct {
	id       entryID
	after    time.Duration
	attempts int // so far
}

// park has entries of a source delivered again later.
func (m *member) park(ctx context.Context, client *goredis.Client, s *source, list []parking) error {
	if len(list) == 0 {
		return nil
	}
	script, keys := parkAgainScript, []string{s.key, s.due}
	if s.parked != nil {
		script, keys = parkScript, []string{s.key, s.parked.key, s.parked.due}
	}
	for part := range slices.Chunk(list, parkAtOnce) {
		args, now := []any{m.group}, m.clock.latest()
		for _, p := range part {
			args = append(args, p.id.String(), now+parkedFor(p.after), p.attempts)
		}
		if _, err := eval(ctx, client, script, keys, args...); err != nil {
			return err
		}
	}
	m.noteDue(s, list)
	return nil
}

// parkedFor returns for how many ms an entry waits: one that has begun counts in full. What is to wait for centuries waits for one:
// more would be too much for a Duration once what time it is comes to it.
func parkedFor(after time.Duration) int64 {
	const century = 100 * 365 * 24 * time.Hour
	return (min(after, century) + time.Millisecond - 1).Milliseconds()
}

// parkAtOnce is how many entries one script parks: the server does nothing else meanwhile.
const parkAtOnce = 100

// noteDue remembers when the first of list is due, so that the reader looks in time.
func (m *member) noteDue(s *source, list []parking) {
	first := list[0].after
	for _, p := range list {
		first = min(first, p.after)
	}
	if s.parked != nil {
		s = s.parked
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if at := time.Now().Add(first); s.nextDue.IsZero() || at.Before(s.nextDue) {
		s.nextDue = at
	}
}

// promote makes parked entries that are due pending with this member, at most n.
func (m *member) promote(ctx context.Context, s *source, n int) error {
	raw, err := eval(ctx, m.client, promoteScript, []string{s.key, s.due}, m.group, m.consumer, n, m.clock.earliest())
	if err != nil {
		if isNoGroup(err) {
			m.setDue(s, time.Time{}) // the next poll looks again
			return nil
		}
		return err
	}
	r := replyReader{raw}
	if parts, err := r.array(); err != nil || parts != 2 {
		return errors.Join(err, errReply)
	}
	wait, err := r.bulk()
	if err != nil {
		return err
	}
	m.setDue(s, dueIn(string(wait), time.Now()))
	count, err := r.array()
	if err != nil {
		return err
	}
	var b batch
	var e rawEntry
	for range count {
		if parts, err := r.array(); err != nil || parts != 2 {
			return errors.Join(err, errReply)
		}
		attempt, err := r.bulk()
		if err != nil {
			return err
		}
		if parts, err := r.array(); err != nil || parts != 2 {
			return errors.Join(err, errReply)
		}
		if err := r.entry(&e); err != nil {
			return err
		}
		n, _ := strconv.Atoi(string(attempt))
		m.read.read(&b, s.channel, s.key, n, &e)
	}
	return m.deliver(ctx, s, &b)
}

// dueIn reads in how many ms an entry is due.
func dueIn(ms string, now time.Time) time.Time {
	n, err := strconv.ParseFloat(ms, 64)
	if err != nil {
		return time.Time{}
	}
	return now.Add(time.Duration(n) * time.Millisecond)
}

// isNoGroup reports whether a stream or its group is not there.
func isNoGroup(err error) bool {
	return goredis.HasErrorPrefix(err, "NOGROUP") || goredis.HasErrorPrefix(err, "UNBLOCKED") ||
		err != nil && strings.Contains(err.Error(), "no such key") || err != nil && strings.Contains(err.Error(), "requires the key to exist")
}
