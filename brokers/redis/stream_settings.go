package redis

import (
	"errors"
	"strings"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
)

// streamSettings are the parameters of redis+stream URLs.
type streamSettings struct {
	prefix           string
	create           bool
	lease            time.Duration
	prefetch         int
	consumer         string
	format           Format // nil is our own
	formatName       string
	retention        time.Duration
	retentionEntries int
	maxAge           time.Duration
	maxEntries       int
	forget           time.Duration
}

// streamDefaults: a lease as long as JetStream's. An hour of what everybody has settled, and at most a million
// entries of it, can be read again by a group that comes later: a server has them in memory.
func streamDefaults() streamSettings {
	return streamSettings{
		prefix: "eventbus:", create: true, lease: 30 * time.Second, prefetch: 512,
		retention: time.Hour, retentionEntries: 1_000_000,
	}
}

func (s *streamSettings) read(u *brokers.URL) {
	s.prefix = u.Param("prefix", s.prefix)
	s.create = u.BoolParam("create", s.create)
	s.lease = u.DurationParam("lease", s.lease)
	s.prefetch = u.IntParam("prefetch", s.prefetch, 1, 1<<20)
	s.consumer = u.Param("consumer", "")
	s.formatName = u.Param("format", "")
	s.retention = u.DurationParam("retention", s.retention)
	s.retentionEntries = u.IntParam("retention_entries", s.retentionEntries, 0, 1<<40)
	s.maxAge = u.DurationParam("max_age", 0)
	s.maxEntries = u.IntParam("max_entries", 0, 1, 1<<40)
	s.forget = u.DurationParam("forget", 0)
}

func (s *streamSettings) check() (err error) {
	if s.lease < 100*time.Millisecond {
		return errors.New("lease is under 100ms, which no network can keep up with")
	}
	if s.forget > 0 && (s.forget < time.Hour || s.forget < s.lease) {
		return errors.New("forget is under 1h, or under lease: a service that is deployed anew would find its group gone")
	}
	if strings.ContainsAny(s.prefix, "{}") {
		return errors.New("prefix may have no { and }: the channel between them is what a cluster would go by")
	}
	s.format, err = formatNamed(s.formatName)
	return err
}

// The keys of a channel have it as their hash tag
// (https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec), so that scripts and transactions may
// use them together wherever keys are spread by their names.

// streamKey is the stream of a channel.
func (s *streamSettings) streamKey(channel string) string {
	if s.format != nil {
		return s.format.Key(channel)
	}
	return s.prefix + "{" + channel + "}"
}

// parkedKey is the stream of what a group gets again later, or for the second time.
func (s *streamSettings) parkedKey(channel, group string) string {
	return s.prefix + "{" + channel + "}:parked:" + group
}

// dueKey is the sorted set of when it does.
func (s *streamSettings) dueKey(channel, group string) string {
	return s.prefix + "{" + channel + "}:due:" + group
}

// channelsKey is the set of all channels that have a stream, which is what patterns are matched with.
func (s *streamSettings) channelsKey() string { return s.prefix + "channels" }

// clockKey is a sorted set with two scores, of what delays are counted in: see clock.
func (s *streamSettings) clockKey() string { return s.prefix + "clock" }
