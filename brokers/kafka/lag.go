package kafka

import (
	"context"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/fetch"

	"github.com/eventbus-go/eventbus/brokers"
)

var _ brokers.Lagger = (*conn)(nil)

// Lag returns how far a group is behind. The broker knows what a group has committed and not what its members hold, so that
// Waiting has what was delivered and is not settled in it, and Pending is -1. It needs DESCRIBE on the group and READ on the
// topics.
func (c *conn) Lag(ctx context.Context, group string, channels []string) ([]brokers.Lag, error) {
	if !c.calls.Enter() {
		return nil, brokers.ErrClosed
	}
	defer c.calls.Leave()
	topics, err := c.cluster.all(ctx)
	if err != nil {
		return nil, err
	}
	var parts []tp
	for _, name := range channels {
		if t := topics[name]; t != nil {
			for _, id := range t.ids {
				parts = append(parts, tp{name, id})
			}
		}
	}
	l := lagging{c: c}
	if l.committed, err = c.committedOffsets(ctx, group, parts); err != nil {
		return nil, err
	}
	if l.first, err = c.offsets(ctx, parts, kafkago.FirstOffset); err != nil {
		return nil, err
	}
	if l.end, err = c.offsets(ctx, parts, kafkago.LastOffset); err != nil {
		return nil, err
	}
	var out []brokers.Lag
	for _, name := range channels {
		one, reads, err := l.of(ctx, name, topics[name])
		if err != nil {
			return nil, err
		}
		if reads {
			out = append(out, one)
		}
	}
	return out, nil
}

// lagging is what one call of Lag has asked the broker for.
type lagging struct {
	c                     *conn
	committed, first, end map[tp]int64
}

// of returns the lag on one topic; false where the group does not read it. A partition without a place is a new one: a group
// reads those from their beginning.
func (l *lagging) of(ctx context.Context, name string, t *topic) (lag brokers.Lag, reads bool, err error) {
	lag = brokers.Lag{Channel: name, Pending: -1}
	if t == nil {
		return lag, false, nil
	}
	for _, id := range t.ids {
		reads = reads || l.committed[tp{name, id}] >= 0
	}
	for _, id := range t.ids {
		at := tp{name, id}
		next := max(l.committed[at], l.first[at])
		if !reads || next >= l.end[at] {
			continue
		}
		lag.Waiting += l.end[at] - next
		when, err := l.c.published(ctx, at, next)
		if err != nil {
			return lag, false, err
		}
		if lag.Oldest.IsZero() || !when.IsZero() && when.Before(lag.Oldest) {
			lag.Oldest = when
		}
	}
	return lag, reads, nil
}

// published returns when the first record from an offset on was published; zero where there is none.
func (c *conn) published(ctx context.Context, at tp, offset int64) (time.Time, error) {
	r, err := ask[*fetch.Response](ctx, c, &fetch.Request{
		ReplicaID: -1, MinBytes: 1, MaxBytes: responseMax, SessionEpoch: -1,
		Topics: []fetch.RequestTopic{{Topic: at.topic, Partitions: []fetch.RequestPartition{{
			Partition: int32(at.id), CurrentLeaderEpoch: -1, FetchOffset: offset, LogStartOffset: -1,
			PartitionMaxBytes: 1, // a broker sends one batch at least
		}}}},
	})
	if err == nil {
		err = codeError(r.ErrorCode)
	}
	if err != nil || len(r.Topics) == 0 || len(r.Topics[0].Partitions) == 0 {
		return time.Time{}, err
	}
	p := &r.Topics[0].Partitions[0]
	if err := codeError(p.ErrorCode); err != nil || p.RecordSet.Records == nil {
		return time.Time{}, err
	}
	for {
		rec, err := p.RecordSet.Records.ReadRecord()
		if err != nil {
			return time.Time{}, nil // nothing but records that are no messages
		}
		if rec.Key != nil {
			_ = rec.Key.Close()
		}
		if rec.Value != nil {
			_ = rec.Value.Close()
		}
		if rec.Offset >= offset {
			return rec.Time.UTC(), nil
		}
	}
}
