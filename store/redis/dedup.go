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
type Dedup struct{ client goredis.UniversalClient }

// NewDedup returns a store that uses client, which stays open.
func NewDedup(client goredis.UniversalClient) *Dedup { return &Dedup{client} }

// reserve sets the key for the lease unless it is there: ARGV has the token and the lease in milliseconds.
var reserve = goredis.NewScript(`
local v = redis.call('GET', KEYS[1])
if v == 'handled' then return 2 end
if v then return 1 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 0`)

// release deletes the key where it has the token.
var release = goredis.NewScript(`
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 0`)

// Reserve implements dedup.Store.
func (d *Dedup) Reserve(ctx context.Context, scope, id string, token uint64, lease time.Duration) (dedup.State, error) {
	n, err := reserve.Run(ctx, d.client, dedupKey(scope, id), strconv.FormatUint(token, 16), max(lease.Milliseconds(), 1)).Int()
	return dedup.State(n), err
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
