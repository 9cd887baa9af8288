package redis

import (
	"context"
	"strconv"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/eventbus-go/eventbus/store/dedup"
)

// dedupPrefix begins the key of each event that is being handled or was handled.
const dedupPrefix = "eventbus:dedup:"

// A Dedup is a dedup.Store on a server: one key for each event, which expires with its lease or its window. So the
// window bounds it, times the rate of events, at some 150 bytes each. Its methods are safe for concurrent use.
type Dedup struct {
	client goredis.UniversalClient
	close  func() error
}

// NewDedup returns a store that uses client, which stays open. A client that obeys the deadlines of its calls
// (ContextTimeoutEnabled) keeps a server that is frozen from holding up events for longer than they say.
func NewDedup(client goredis.UniversalClient) *Dedup { return &Dedup{client: client} }

// NewDedupWith is NewDedup for a store whose Close calls closer.
func NewDedupWith(client goredis.UniversalClient, closer func() error) *Dedup {
	return &Dedup{client, closer}
}

// Close implements io.Closer.
func (d *Dedup) Close() error {
	if d.close == nil {
		return nil
	}
	return d.close()
}

// The key of an event that is being handled has the token and the lease in milliseconds. Nothing is left of a lease for longer than
// that, unless the server's clock was set back: of a process that has died the event would be held for as long as that, so whoever
// asks for it shortens what is left to a lease. A holder that is alive renews it within that time.

// reserve sets the key for the lease unless it is there: ARGV has the token and the lease in milliseconds.
var reserve = goredis.NewScript(`
local v = redis.call('GET', KEYS[1])
if v == 'handled' then return 2 end
if v then
  local lease = tonumber(string.match(v, ' (%d+)$'))
  if lease and redis.call('PTTL', KEYS[1]) > lease then redis.call('PEXPIRE', KEYS[1], lease) end
  return 1
end
redis.call('SET', KEYS[1], ARGV[1] .. ' ' .. ARGV[2], 'PX', ARGV[2])
return 0`)

// renew prolongs the key where it has the token.
var renew = goredis.NewScript(`
local v = redis.call('GET', KEYS[1])
if not v or string.match(v, '^%x+') ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1] .. ' ' .. ARGV[2], 'PX', ARGV[2])
return 1`)

// release deletes the key where it has the token.
var release = goredis.NewScript(`
local v = redis.call('GET', KEYS[1])
if v and string.match(v, '^%x+') == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 0`)

// Reserve implements dedup.Store.
func (d *Dedup) Reserve(ctx context.Context, scope, id string, token uint64, lease time.Duration) (dedup.State, error) {
	n, err := reserve.Run(ctx, d.client, dedupKey(scope, id), strconv.FormatUint(token, 16), max(lease.Milliseconds(), 1)).Int()
	return dedup.State(n), err
}

// Renew implements dedup.Store.
func (d *Dedup) Renew(ctx context.Context, scope, id string, token uint64, lease time.Duration) (bool, error) {
	n, err := renew.Run(ctx, d.client, dedupKey(scope, id), strconv.FormatUint(token, 16), max(lease.Milliseconds(), 1)).Int()
	return n == 1, err
}

// Confirm implements dedup.Store.
func (d *Dedup) Confirm(ctx context.Context, scope, id string, window time.Duration) error {
	return d.client.Set(ctx, dedupKey(scope, id)[0], "handled", max(window, time.Millisecond)).Err()
}

// Release implements dedup.Store.
func (d *Dedup) Release(ctx context.Context, scope, id string, token uint64) error {
	return release.Run(ctx, d.client, dedupKey(scope, id), strconv.FormatUint(token, 16)).Err()
}

func dedupKey(scope, id string) []string { return []string{dedupPrefix + scope + ":" + id} }
