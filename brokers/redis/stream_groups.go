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
func (c *stream) groupsOf(ctx context.Context, key string) (groupState, error) {
	all, err := c.groupsOfAll(ctx, []string{key})
	if err != nil {
		return groupState{}, err
	}
	return all[0].state, all[0].err
}

// A groupsReply is what the server said of one stream, or why it did not.
type groupsReply struct {
	state   groupState
	err     error // the server's
	info    *goredis.XInfoStreamCmd
	groups  *goredis.XInfoGroupsCmd
	pending []*goredis.XPendingCmd
}

// askAtOnce is how many streams are asked for in one pipeline, at most.
const askAtOnce = 100

// groupsOfAll asks up to where each group has settled each stream, in two pipelines for many of them. Its error is one of the
// connection.
//
// The order matters: suppose a group had delivered everything up to 100 when it was asked, and 101 to 110 are
// delivered before its pending entries are asked for: its floor is 100, or less. Asked the other way round, it would
// be 110, with 101 to 110 pending.
func (c *stream) groupsOfAll(ctx context.Context, keys []string) ([]groupsReply, error) {
	out := make([]groupsReply, len(keys))
	for from := 0; from < len(keys); from += askAtOnce {
		to := min(from+askAtOnce, len(keys))
		if err := c.askGroups(ctx, keys[from:to], out[from:to]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (c *stream) askGroups(ctx context.Context, keys []string, out []groupsReply) error {
	pipe := c.pub.Pipeline()
	for i, key := range keys {
		out[i].info, out[i].groups = pipe.XInfoStream(ctx, key), pipe.XInfoGroups(ctx, key)
	}
	if err := execute(ctx, pipe); err != nil {
		return err
	}
	pipe = c.pub.Pipeline()
	for i, key := range keys {
		r := &out[i]
		for _, g := range r.groups.Val() {
			r.pending = append(r.pending, pipe.XPending(ctx, key, g.Name))
		}
	}
	if pipe.Len() > 0 {
		if err := execute(ctx, pipe); err != nil {
			return err
		}
	}
	for i := range out {
		out[i].state, out[i].err = out[i].read()
	}
	return nil
}

// read makes sense of the replies about one stream.
func (r *groupsReply) read() (groupState, error) {
	state := groupState{floors: make(map[string]entryID), read: make(map[string]int64)}
	info, err := r.info.Result()
	if err != nil {
		return state, err
	}
	state.length = info.Length
	state.first, _ = readID(info.FirstEntry.ID)
	state.last, _ = readID(info.LastGeneratedID)
	state.removed = info.EntriesAdded - info.Length
	groups, err := r.groups.Result()
	if err != nil {
		return state, err
	}
	for i, g := range groups {
		floor, ok := readID(g.LastDeliveredID)
		if !ok {
			return state, errReply
		}
		p, err := r.pending[i].Result()
		if err != nil {
			return state, err // the group was destroyed a moment ago
		}
		if p.Count > 0 {
			if lowest, ok := readID(p.Lower); ok && lowest.before().less(floor) {
				floor = lowest.before()
			}
		}
		state.floors[g.Name], state.read[g.Name] = floor, g.EntriesRead
	}
	return state, nil
}
