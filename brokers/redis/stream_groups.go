package redis

import (
	"context"

	goredis "github.com/redis/go-redis/v9"
)

// groupState is what is known of a stream's groups.
type groupState struct {
	floors map[string]entryID // all entries up to here are settled
	length int64
	first  entryID
	last   entryID

	removed int64            // how many entries the stream had that it has no more
	read    map[string]int64 // how many of all entries each group has had
}

// groupsOf asks up to where each group has settled a stream.
//
// The order matters: suppose a group had delivered everything up to 100 when it was asked, and 101 to 110 are
// delivered before its pending entries are asked for: its floor is 100, or less. Asked the other way round, it would
// be 110, with 101 to 110 pending.
func (c *stream) groupsOf(ctx context.Context, key string) (groupState, error) {
	state := groupState{floors: make(map[string]entryID), read: make(map[string]int64)}
	info, err := c.pub.XInfoStream(ctx, key).Result()
	if err != nil {
		return state, err
	}
	state.length = info.Length
	state.first, _ = readID(info.FirstEntry.ID)
	state.last, _ = readID(info.LastGeneratedID)
	state.removed = info.EntriesAdded - info.Length
	groups, err := c.pub.XInfoGroups(ctx, key).Result()
	if err != nil || len(groups) == 0 {
		return state, err
	}
	pipe := c.pub.Pipeline()
	pending := make([]*goredis.XPendingCmd, len(groups))
	for i, g := range groups {
		pending[i] = pipe.XPending(ctx, key, g.Name)
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return state, err
	}
	for i, g := range groups {
		floor, ok := readID(g.LastDeliveredID)
		if !ok {
			return state, errReply
		}
		if p := pending[i].Val(); p.Count > 0 {
			if lowest, ok := readID(p.Lower); ok && lowest.before().less(floor) {
				floor = lowest.before()
			}
		}
		state.floors[g.Name], state.read[g.Name] = floor, g.EntriesRead
	}
	return state, nil
}
