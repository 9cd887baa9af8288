package redis

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
)

const (
	// trimEvery is how often the streams that a connection has to do with are trimmed.
	trimEvery = 10 * time.Second
	// trimAtOnce is how many times in a row a stream is trimmed: by 10,000 entries each, which is what Redis does in
	// one go.
	trimAtOnce = 200
)

// A keeper trims streams. Whoever publishes to a channel, or reads it, looks after it, so that one that nobody reads
// is trimmed, too; several who do it at once do no harm.
type keeper struct {
	cancel context.CancelFunc
	done   chan struct{} // closed once the goroutine has ended

	mu       sync.Mutex
	channels map[string]time.Time // when we last had to do with it
}

func (k *keeper) start(ctx context.Context, c *stream) {
	ctx, k.cancel = context.WithCancel(ctx)
	k.channels, k.done = make(map[string]time.Time), make(chan struct{})
	go func() {
		defer close(k.done)
		k.run(ctx, c)
	}()
}

// note notes that we have to do with channels.
func (k *keeper) note(now time.Time, channels ...string) {
	if len(channels) == 0 {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, channel := range channels {
		k.channels[channel] = now
	}
}

// due returns the channels that we had to do with lately.
func (k *keeper) due(now time.Time) (out []string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for channel, at := range k.channels {
		if now.Sub(at) > 6*trimEvery {
			delete(k.channels, channel)
			continue
		}
		out = append(out, channel)
	}
	slices.Sort(out) // so that the same one is warned of again
	return out
}

func (k *keeper) run(ctx context.Context, c *stream) {
	// Not all processes at once.
	t := time.NewTimer(time.Duration(rand.Int64N(int64(trimEvery))))
	defer t.Stop()
	owed := time.NewTicker(announceEvery)
	defer owed.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-owed.C:
			c.tend("channels", func() { c.announceOwed(ctx) })
		case <-t.C:
			c.tend("streams", func() { c.trimAll(ctx, k.due(time.Now())) })
			t.Reset(trimEvery)
		}
	}
}

// tend does a round of a keeper's work. Nobody waits for it who could be told of a panic.
func (c *stream) tend(what string, work func()) {
	text := ""
	if err := brokers.Contain(func() error { work(); return nil }); err != nil {
		text = what + " are not looked after: " + err.Error()
	}
	c.warnings.set("tend:"+what, text)
}

// trimAll trims the streams of channels. A server that refuses that for one of them may do it for the others; the warning of it
// is there until a round in which none was refused.
func (c *stream) trimAll(ctx context.Context, channels []string) {
	refused := ""
	for _, channel := range channels {
		err := c.trim(ctx, channel)
		switch {
		case err == nil, isNoGroup(err):
		case !isReply(err):
			return // the server does not answer: what it refuses it says when it does
		case refused == "" && c.wantsTrimming(err):
			refused = "the stream of channel " + channel + " is not trimmed: " + err.Error()
		}
	}
	c.warnings.set("trim", refused)
}

// wantsTrimming reports whether an operator should know of a stream that is not trimmed. An account that may only publish, with
// create=false, leaves that to others.
func (c *stream) wantsTrimming(err error) bool {
	return denied(err) && (c.set.stream.create || hasPrefix(err, unwritten))
}

// trim removes what nobody needs any more of a channel's stream.
func (c *stream) trim(ctx context.Context, channel string) error {
	ctx, cancel := context.WithTimeout(ctx, trimEvery)
	defer cancel()
	key := c.set.stream.streamKey(channel)
	state, err := c.groupsOf(ctx, key)
	if err != nil {
		if isNoGroup(err) {
			return nil
		}
		return err
	}
	now, err := c.pub.Time(ctx).Result()
	if err != nil {
		return err
	}
	if removed, err := c.lookForForgotten(ctx, channel, state, now); err != nil {
		return err
	} else if removed {
		if state, err = c.groupsOf(ctx, key); err != nil {
			return err
		}
	}
	set := &c.set.stream
	cut := cutoff(state, now, set.retention, set.retentionEntries)
	if set.maxAge > 0 {
		cut = later(cut, idAt(now.Add(-set.maxAge)))
	}
	if err := repeat(func() (int64, error) { return c.pub.XTrimMinIDApprox(ctx, key, cut.String(), 0).Result() }); err != nil {
		return err
	}
	if set.maxEntries == 0 {
		return nil
	}
	return repeat(func() (int64, error) { return c.pub.XTrimMaxLenApprox(ctx, key, int64(set.maxEntries), 0).Result() })
}

// repeat trims until nothing more is removed.
func repeat(trim func() (removed int64, err error)) error {
	for range trimAtOnce {
		if n, err := trim(); err != nil || n == 0 {
			return err
		}
	}
	return nil
}

// cutoff returns the id before which entries are removed: those that are older than retention, and more than so many
// (0 for no bound), but none that a group has not settled. How many there are before an id nobody knows, so it is
// taken that they came evenly; the next time it is known better.
func cutoff(s groupState, now time.Time, retention time.Duration, entries int) entryID {
	cut := idAt(now.Add(-retention))
	if n := int64(entries); n > 0 && s.length > n && s.first.less(s.last) {
		share := float64(s.length-n) / float64(s.length)
		span := float64(s.last.ms - s.first.ms)
		cut = later(cut, entryID{ms: s.first.ms + uint64(span*share)})
	}
	for _, floor := range s.floors {
		if next := floor.after(); next.less(cut) {
			cut = next
		}
	}
	return cut
}

// idAt is the first id of a time.
func idAt(t time.Time) entryID { return entryID{ms: uint64(max(0, t.UnixMilli()))} }

func later(a, b entryID) entryID {
	if a.less(b) {
		return b
	}
	return a
}
