package redis

import (
	"context"
	"fmt"
	"time"
)

// warnPinned is how old what a group has not settled may be before an operator should know that the server keeps it.
const warnPinned = 24 * time.Hour

// forgetScript destroys a group that no consumer has asked for lately. KEYS: the stream, and what is parked for the group, with
// the set. ARGV: the group, and how many ms are lately. It returns 1 if it did. Being a script it leaves no moment in which
// a consumer could come back between the look and the deed.
var forgetScript = newScript(`
for _, c in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  for i = 1, #c, 2 do
    if c[i] == 'idle' and c[i + 1] < tonumber(ARGV[2]) then return 0 end
  end
end
redis.call('XGROUP', 'DESTROY', KEYS[1], ARGV[1])
redis.call('DEL', KEYS[2], KEYS[3])
return 1`)

// lookForForgotten warns of groups that keep messages for long, and removes those of them that nobody reads for, where that is
// asked for. It reports whether it removed any.
func (c *stream) lookForForgotten(ctx context.Context, channel string, s groupState, now time.Time) (bool, error) {
	limit := warnPinned
	if c.set.stream.forget > 0 {
		limit = c.set.stream.forget
	}
	removed := false
	pins := make(map[string]string)
	defer func() { c.warnings.replace("pinned:"+channel+":", pins) }()
	for group, floor := range s.floors {
		pinned, err := c.pins(ctx, channel, s, floor, idAt(now.Add(-limit)))
		if err != nil {
			return removed, err
		}
		gone := false
		if c.pinnedAgain(channel, group, pinned) && c.set.stream.forget > 0 && c.set.stream.create {
			if gone, err = c.forget(ctx, channel, group); err != nil {
				return removed, err
			}
			removed = removed || gone
		}
		if pinned && !gone {
			pins["pinned:"+channel+":"+group] = c.pinnedText(channel, group, limit)
		}
	}
	return removed, nil
}

// pinnedAgain notes whether a group keeps old messages, and reports whether it did so at the last look, too.
//
// Suppose the server's clock jumps ahead by more than forget: everything looks old, and every consumer as if it had not asked
// for anything since. By the next look those that are alive have asked, which forgetScript sees.
func (c *stream) pinnedAgain(channel, group string, pinned bool) (again bool) {
	key := channel + " " + group
	c.mu.Lock()
	defer c.mu.Unlock()
	again = pinned && c.pinned[key]
	if !pinned {
		delete(c.pinned, key)
	} else {
		c.pinned[key] = true
	}
	return again
}

// pins reports whether a group has not settled something from before an id. Its floor alone does not say: on a quiet channel
// it is old, too.
func (c *stream) pins(ctx context.Context, channel string, s groupState, floor, before entryID) (bool, error) {
	if !floor.less(s.last) || !floor.after().less(before) {
		return false, nil
	}
	oldest, err := c.pub.XRangeN(ctx, c.set.stream.streamKey(channel), floor.after().String(), "+", 1).Result()
	if err != nil || len(oldest) == 0 {
		return false, err
	}
	id, ok := readID(oldest[0].ID)
	return ok && id.less(before), nil
}

// forget removes a group, and what waits for it, unless some consumer has asked for it lately.
func (c *stream) forget(ctx context.Context, channel, group string) (bool, error) {
	set := &c.set.stream
	keys := []string{set.streamKey(channel), set.parkedKey(channel, group), set.dueKey(channel, group)}
	raw, err := eval(ctx, c.pub, forgetScript, keys, group, set.forget.Milliseconds())
	if err != nil || string(raw) != ":1\r\n" {
		return false, err
	}
	c.warnings.set("forgotten:"+channel+":"+group, fmt.Sprintf("the group %q of channel %s was removed with what it had not "+
		"settled: nobody has read for it for forget=%v", group, channel, set.forget))
	return true, nil
}

// pinnedText warns of a group that keeps messages.
func (c *stream) pinnedText(channel, group string, limit time.Duration) string {
	return fmt.Sprintf("the group %q of channel %s has not settled messages of more than "+
		"%v, which the server therefore keeps in memory: if nobody uses it any more, XGROUP DESTROY %s %s, or let forget=, "+
		"max_age= or max_entries= bound it", group, channel, limit, c.set.stream.streamKey(channel), group)
}
