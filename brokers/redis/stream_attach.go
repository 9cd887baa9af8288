package redis

import (
	"context"
	"errors"
	"fmt"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/eventbus-go/eventbus/brokers"
)

// A setupError says that a group cannot be had as things are.
type setupError struct{ err error }

func (e *setupError) Error() string { return e.err.Error() }
func (e *setupError) Unwrap() error { return e.err }

// errGroupGone is why a group had to be made again.
var errGroupGone = errors.New("the group or its stream was deleted")

// attach makes sure that the group is there for each channel that is known, and finds those that the patterns match.
func (m *member) attach(ctx context.Context) error {
	if !m.everReady {
		if err := m.conn.register(ctx, m.client, m.names.literals); err != nil {
			return err
		}
		if err := m.adopt(ctx, m.names.literals, startID(m.start)); err != nil {
			return err
		}
	}
	return m.discover(ctx)
}

// discover adopts channels that the patterns match and that were not there before. One that came after the
// subscription was ready is read from its first message on.
func (m *member) discover(ctx context.Context) error {
	channels, err := m.names.find(ctx, m.client)
	if err != nil {
		return err
	}
	from := "0"
	if !m.everReady {
		from = startID(m.start)
	}
	return m.adopt(ctx, channels, from)
}

func startID(s brokers.Start) string {
	if s == brokers.StartNow {
		return "$"
	}
	return "0"
}

// adopt reads the channels from now on, those that are not read yet.
func (m *member) adopt(ctx context.Context, channels []string, from string) error {
	for _, channel := range channels {
		s := m.newSource(channel)
		if m.byKey[s.key] != nil {
			continue
		}
		err := m.conn.ensureGroup(ctx, m.client, s.key, channel, m.group, from)
		if err != nil {
			var missing *setupError
			if m.names.match(channel) && errors.As(err, &missing) {
				continue // nobody has made the group for this channel yet
			}
			return err
		}
		m.mu.Lock()
		m.sources = append(m.sources, s)
		m.byKey[s.key] = s
		m.mu.Unlock()
		m.polled = time.Time{}
	}
	return nil
}

// ensureGroup makes a group where it is not there and may be made.
func (c *stream) ensureGroup(ctx context.Context, client *goredis.Client, key, channel, group, from string) error {
	if !c.set.stream.create {
		err := client.XPending(ctx, key, group).Err()
		if isNoGroup(err) {
			return &setupError{fmt.Errorf("channel %s has no group %q, and create=false forbids to make one: provision it first", channel, group)}
		}
		return err
	}
	err := client.XGroupCreateMkStream(ctx, key, group, from).Err()
	if goredis.HasErrorPrefix(err, "BUSYGROUP") {
		return nil
	}
	if hasPrefix(err, unwritten) && client.XPending(ctx, key, group).Err() == nil {
		return nil // a full server denies what may take memory before it looks: a service that starts now can still read
	}
	return err
}

// heal makes groups again that are gone, and reports a gap for each: what was published between the deletion of a
// stream and now is in the new one, but what was in the old one is lost.
//
// A group that was destroyed while its stream stayed begins again where all was settled, as far as this process
// knows: rather twice than not at all.
func (m *member) heal(ctx context.Context, cause error) error {
	for _, s := range m.all() {
		err := m.client.XPending(ctx, s.key, m.group).Err()
		if err == nil {
			continue
		}
		if !isNoGroup(err) {
			return err
		}
		from, lost := m.restart(ctx, s)
		if !m.conn.set.stream.create {
			return &setupError{fmt.Errorf("%w, and create=false forbids to make it again: %w", errGroupGone, cause)}
		}
		if err := m.conn.register(ctx, m.client, []string{s.channel}); err != nil {
			return err
		}
		if err := m.conn.ensureGroup(ctx, m.client, s.key, s.channel, m.group, from); err != nil {
			return err
		}
		m.trouble.report(fmt.Errorf("channel %s: %w", s.channel, errGroupGone), lost)
	}
	return nil
}

// restart returns where a group that is gone begins again, and how many messages were lost with it; -1 for nobody
// knows.
func (m *member) restart(ctx context.Context, s *source) (from string, lost int64) {
	m.mu.Lock()
	floor := s.floor
	s.floor = entryID{}
	m.mu.Unlock()
	info, err := m.client.XInfoStream(ctx, s.key).Result()
	if err != nil || info.EntriesAdded == 0 {
		return "0", -1
	}
	if last, ok := readID(info.LastGeneratedID); !ok || last.less(floor) {
		return "0", -1
	}
	at := s.seen.String()
	found, err := m.client.XRangeN(ctx, s.key, at, at, 1).Result()
	if err != nil || replaced(info, s.seen, len(found) > 0) {
		s.seen = entryID{}
		return "0", -1
	}
	return floor.String(), 0
}

// replaced reports whether a stream is another one than that which an entry was received of: the entry is not there, and nothing was
// ever removed. (The greatest deleted id would not tell: trimming does not change it.)
func replaced(info *goredis.XInfoStream, seen entryID, there bool) bool {
	return seen != (entryID{}) && !there && info.EntriesAdded == info.Length
}
