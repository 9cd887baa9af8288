package redis

import (
	"context"
	"slices"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/eventbus-go/eventbus/brokers"
)

// names finds the channels that a subscription's patterns match. Redis has no wildcards for streams: the channels are
// in a set, which publishers and members write. Where another format is read, whose publishers know nothing of the
// set, the names of all streams are looked at, too, less often: that costs the server a walk through all keys.
type names struct {
	conn     *stream
	literals []string
	patterns []brokers.Pattern
	scanned  time.Time
	found    []string // by the last scan
}

// scanEvery is how often the names of all streams are looked at.
const scanEvery = 15 * time.Second

func newNames(c *stream, patterns []brokers.Pattern) *names {
	n := &names{conn: c}
	for _, p := range patterns {
		if p.Literal() {
			n.literals = append(n.literals, p.String())
		} else {
			n.patterns = append(n.patterns, p)
		}
	}
	return n
}

// wild reports whether there is a pattern.
func (n *names) wild() bool { return len(n.patterns) > 0 }

// find returns the channels that there are for the patterns.
func (n *names) find(ctx context.Context, client *goredis.Client) ([]string, error) {
	if !n.wild() {
		return nil, nil
	}
	all, err := client.SMembers(ctx, n.conn.set.stream.channelsKey()).Result()
	if err != nil {
		return nil, err
	}
	if n.conn.set.stream.format != nil {
		if time.Since(n.scanned) >= scanEvery {
			if n.found, err = n.scan(ctx, client); err != nil {
				return nil, err
			}
			n.scanned = time.Now()
		}
		all = append(all, n.found...)
	}
	slices.Sort(all)
	return slices.DeleteFunc(slices.Compact(all), func(channel string) bool { return !n.match(channel) }), nil
}

func (n *names) match(channel string) bool {
	return slices.ContainsFunc(n.patterns, func(p brokers.Pattern) bool { return p.Match(channel) })
}

// scan returns the channels of all streams of the format.
func (n *names) scan(ctx context.Context, client *goredis.Client) (channels []string, err error) {
	for cursor := uint64(0); ; {
		var keys []string
		if keys, cursor, err = client.ScanType(ctx, cursor, "*", 1000, "stream").Result(); err != nil {
			return nil, err
		}
		for _, key := range keys {
			if channel, ok := n.conn.set.stream.format.Channel(key); ok && brokers.CheckChannel(channel) == nil {
				channels = append(channels, channel)
			}
		}
		if cursor == 0 {
			return channels, nil
		}
	}
}
