package redis

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	goredis "github.com/redis/go-redis/v9"

	"github.com/eventbus-go/eventbus/store/deadletter"
)

// DefaultMaxLetters bounds the letters of a server: at 1 KB each, 100 MB of its memory.
const DefaultMaxLetters = 100_000

// The keys. The braces put them into one slot of a cluster.
const (
	keyLetters = "{eventbus:deadletters}:letters" // hash: id to letter
	keyOrder   = "{eventbus:deadletters}:order"   // sorted set of places, all with score 0: sorted by their text
	keyPlaces  = "{eventbus:deadletters}:places"  // hash: id to rev, a space, and the place
	keyTurn    = "{eventbus:deadletters}:turn"    // counts what has been put into lines
	keyLine    = "{eventbus:deadletters}:line:"   // with the name of a line: a sorted set of the ids in it, by their turn
)

// A DeadLetters is a deadletter.Store on a server. Its methods are safe for concurrent use.
type DeadLetters struct {
	client goredis.UniversalClient
	max    int
	close  func() error
}

// NewDeadLetters returns a store of at most max letters; 0 or less means DefaultMaxLetters. Put refuses more with
// deadletter.ErrFull. Close calls closer, unless it is nil.
func NewDeadLetters(client goredis.UniversalClient, max int, closer func() error) *DeadLetters {
	if max <= 0 {
		max = DefaultMaxLetters
	}
	return &DeadLetters{client: client, max: max, close: closer}
}

// put writes letters, all or none: ARGV is the bound, and of each letter its id, rev, place, text, and the key of its line, or nothing.
var put = goredis.NewScript(putOne + `
local fresh = 0
for i = 2, #ARGV, 5 do
  if redis.call('HEXISTS', KEYS[1], ARGV[i]) == 0 then fresh = fresh + 1 end
end
if fresh > 0 and redis.call('HLEN', KEYS[1]) + fresh > tonumber(ARGV[1]) then return 'full' end
for i = 2, #ARGV, 5 do put(i) end
return 'ok'`)

// putOne writes the letter at ARGV[i]. A letter that stands in its line keeps its place.
const putOne = `
local function put(i)
  local old = redis.call('HGET', KEYS[3], ARGV[i])
  if old then redis.call('ZREM', KEYS[2], string.match(old, ' (.*)')) end
  redis.call('HSET', KEYS[1], ARGV[i], ARGV[i+3])
  redis.call('HSET', KEYS[3], ARGV[i], ARGV[i+1] .. ' ' .. ARGV[i+2])
  redis.call('ZADD', KEYS[2], 0, ARGV[i+2])
  if ARGV[i+4] ~= '' then redis.call('ZADD', ARGV[i+4], 'NX', redis.call('INCR', KEYS[4]), ARGV[i]) end
end
`

// putBehind writes one letter behind those of its line, where there are any: ARGV as put.
var putBehind = goredis.NewScript(putOne + `
if redis.call('ZCARD', ARGV[6]) == 0 then return 'none' end
if redis.call('ZSCORE', ARGV[6], ARGV[2]) then return 'ok' end
if redis.call('HEXISTS', KEYS[1], ARGV[2]) == 0 and redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[1]) then return 'full' end
put(2)
return 'ok'`)

// remove removes letters that were not written again: ARGV has of each its id, its rev, and the key of its line.
var remove = goredis.NewScript(`
local n = 0
for i = 1, #ARGV, 3 do
  local at = redis.call('HGET', KEYS[3], ARGV[i])
  if at and string.match(at, '^(.-) ') == ARGV[i+1] then
    redis.call('ZREM', KEYS[2], string.match(at, ' (.*)'))
    redis.call('HDEL', KEYS[1], ARGV[i])
    redis.call('HDEL', KEYS[3], ARGV[i])
    if ARGV[i+2] ~= '' then redis.call('ZREM', ARGV[i+2], ARGV[i]) end
    n = n + 1
  end
end
return n`)

var keys = []string{keyLetters, keyOrder, keyPlaces, keyTurn}

// lineKey is the key of a letter's line: a sorted set of ids. It is empty where the letter stands in none.
func lineKey(line string) string {
	if line == "" {
		return ""
	}
	return keyLine + line
}

// Put implements deadletter.Store.
func (d *DeadLetters) Put(ctx context.Context, letters ...deadletter.Letter) error {
	_, err := d.put(ctx, put, letters...)
	return err
}

// PutBehind implements deadletter.LineStore.
func (d *DeadLetters) PutBehind(ctx context.Context, l deadletter.Letter) (bool, error) {
	return d.put(ctx, putBehind, l)
}

// put runs a script that writes letters, and reports whether it did.
func (d *DeadLetters) put(ctx context.Context, script *goredis.Script, letters ...deadletter.Letter) (bool, error) {
	args := make([]any, 0, 1+5*len(letters))
	args = append(args, d.max)
	for i := range letters {
		l := &letters[i]
		if l.Rev == "" || strings.Contains(l.Rev, " ") {
			return false, fmt.Errorf("a letter's Rev is %q: it has to be new each time, without spaces", l.Rev)
		}
		text, err := json.Marshal(l)
		if err != nil {
			return false, err
		}
		args = append(args, l.ID, l.Rev, deadletter.Place(*l), text, lineKey(deadletter.LineOf(l)))
	}
	said, err := script.Run(ctx, d.client, keys, args...).Text()
	if err == nil && said == "full" {
		err = deadletter.ErrFull
	}
	return said == "ok", err
}

// Line implements deadletter.LineStore.
func (d *DeadLetters) Line(ctx context.Context, subscription, key string, limit int) ([]deadletter.Letter, error) {
	name := deadletter.LineOf(&deadletter.Letter{Subscription: subscription, Key: key, KeepOrder: true})
	ids, err := d.client.ZRange(ctx, lineKey(name), 0, int64(limit)-1).Result()
	if err != nil || len(ids) == 0 {
		return nil, err
	}
	return d.read(ctx, ids)
}

// Page implements deadletter.Store.
func (d *DeadLetters) Page(ctx context.Context, cursor string, limit int) ([]deadletter.Letter, string, error) {
	from := "-"
	if cursor != "" {
		from = "(" + cursor
	}
	places, err := d.client.ZRangeByLex(ctx, keyOrder, &goredis.ZRangeBy{Min: from, Max: "+", Count: int64(limit)}).Result()
	if err != nil || len(places) == 0 {
		return nil, "", err
	}
	ids := make([]string, len(places))
	for i, place := range places {
		_, ids[i], _ = strings.Cut(place, ":")
	}
	out, err := d.read(ctx, ids)
	if err != nil {
		return nil, "", err
	}
	next := places[len(places)-1]
	if len(places) < limit {
		next = ""
	}
	return out, next, nil
}

// read returns the letters of ids that are still there.
func (d *DeadLetters) read(ctx context.Context, ids []string) ([]deadletter.Letter, error) {
	texts, err := d.client.HMGet(ctx, keyLetters, ids...).Result()
	if err != nil {
		return nil, err
	}
	out := make([]deadletter.Letter, 0, len(texts))
	for _, t := range texts {
		text, ok := t.(string)
		if !ok {
			continue // removed since
		}
		var l deadletter.Letter
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			return nil, fmt.Errorf("a letter cannot be read: %w", err)
		}
		out = append(out, l)
	}
	return out, nil
}

// Remove implements deadletter.Store.
func (d *DeadLetters) Remove(ctx context.Context, letters ...deadletter.Letter) (int, error) {
	args := make([]any, 0, 3*len(letters))
	for i := range letters {
		args = append(args, letters[i].ID, letters[i].Rev, lineKey(deadletter.LineOf(&letters[i])))
	}
	return remove.Run(ctx, d.client, keys, args...).Int()
}

// Stats implements deadletter.Store.
func (d *DeadLetters) Stats(ctx context.Context) (deadletter.Stats, error) {
	var depth *goredis.IntCmd
	var first *goredis.StringSliceCmd
	_, err := d.client.Pipelined(ctx, func(p goredis.Pipeliner) error {
		depth, first = p.ZCard(ctx, keyOrder), p.ZRange(ctx, keyOrder, 0, 0)
		return nil
	})
	if err != nil {
		return deadletter.Stats{}, err
	}
	st := deadletter.Stats{Depth: depth.Val()}
	if len(first.Val()) > 0 {
		l, err := deadletter.ParsePlace(first.Val()[0])
		st.Oldest = l.Last
		return st, err
	}
	return st, nil
}

// Close implements deadletter.Store.
func (d *DeadLetters) Close() error {
	if d.close == nil {
		return nil
	}
	if err := d.close(); err != nil && !errors.Is(err, goredis.ErrClosed) {
		return err
	}
	return nil
}
