package kafka

import (
	"context"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/listoffsets"
	"github.com/segmentio/kafka-go/protocol/offsetcommit"
	"github.com/segmentio/kafka-go/protocol/offsetfetch"
)

// A topicIndex is where the topics of a request are in its list, which has each once with all its partitions.
type topicIndex map[string]int

// at returns the place of a topic; add appends it to the list where it is not there yet.
func (x topicIndex) at(topic string, add func()) int {
	i, known := x[topic]
	if !known {
		i = len(x)
		x[topic] = i
		add()
	}
	return i
}

// offset asks for the first or the last offset of a partition.
func (c *conn) offset(ctx context.Context, at tp, which int64) (int64, error) {
	offsets, err := c.offsets(ctx, []tp{at}, which)
	return offsets[at], err
}

// offsets asks for the first or the last offsets of partitions.
func (c *conn) offsets(ctx context.Context, places []tp, which int64) (map[tp]int64, error) {
	out := make(map[tp]int64, len(places))
	if len(places) == 0 {
		return out, nil
	}
	topics := make(topicIndex)
	req := &listoffsets.Request{ReplicaID: -1}
	for _, at := range places {
		i := topics.at(at.topic, func() { req.Topics = append(req.Topics, listoffsets.RequestTopic{Topic: at.topic}) })
		req.Topics[i].Partitions = append(req.Topics[i].Partitions, listoffsets.RequestPartition{
			Partition: int32(at.id), CurrentLeaderEpoch: -1, Timestamp: which,
		})
	}
	r, err := ask[*listoffsets.Response](ctx, c, req)
	if err != nil {
		return nil, err
	}
	for i := range r.Topics {
		for _, p := range r.Topics[i].Partitions {
			if err := codeError(p.ErrorCode); err != nil {
				return nil, err
			}
			out[tp{r.Topics[i].Topic, int(p.Partition)}] = p.Offset
		}
	}
	if len(out) < len(places) {
		return nil, kafkago.UnknownTopicOrPartition
	}
	return out, nil
}

// A holder is who commits: a member of a generation, or nobody in particular (-1 and no member), which a group takes as long as
// it has no members.
type holder struct {
	group      string
	generation int32
	member     string
}

// commitOffsets commits offsets, and removes those from the map that the broker did not take.
func (c *conn) commitOffsets(ctx context.Context, h holder, offsets map[tp]int64) error {
	topics := make(topicIndex)
	req := &offsetcommit.Request{
		GroupID: h.group, GenerationID: h.generation, MemberID: h.member, RetentionTimeMs: -1,
	}
	for at, offset := range offsets {
		i := topics.at(at.topic, func() { req.Topics = append(req.Topics, offsetcommit.RequestTopic{Name: at.topic}) })
		req.Topics[i].Partitions = append(req.Topics[i].Partitions, offsetcommit.RequestPartition{
			PartitionIndex: int32(at.id), CommittedOffset: offset, CommittedLeaderEpoch: -1,
		})
	}
	r, err := ask[*offsetcommit.Response](ctx, c, req)
	if err != nil {
		clear(offsets)
		return err
	}
	for i := range r.Topics {
		for _, p := range r.Topics[i].Partitions {
			if e := codeError(p.ErrorCode); e != nil {
				err = e
				delete(offsets, tp{r.Topics[i].Name, int(p.PartitionIndex)})
			}
		}
	}
	return err
}

// committedOffsets returns what a group has committed, -1 where it has nothing.
func (c *conn) committedOffsets(ctx context.Context, group string, parts []tp) (map[tp]int64, error) {
	out := make(map[tp]int64, len(parts))
	if len(parts) == 0 {
		return out, nil
	}
	topics := make(topicIndex)
	req := &offsetfetch.Request{GroupID: group}
	for _, at := range parts {
		out[at] = -1
		i := topics.at(at.topic, func() { req.Topics = append(req.Topics, offsetfetch.RequestTopic{Name: at.topic}) })
		req.Topics[i].PartitionIndexes = append(req.Topics[i].PartitionIndexes, int32(at.id))
	}
	r, err := ask[*offsetfetch.Response](ctx, c, req)
	if err == nil {
		err = codeError(r.ErrorCode)
	}
	if err != nil {
		return nil, err
	}
	for i := range r.Topics {
		for _, p := range r.Topics[i].Partitions {
			if err := codeError(p.ErrorCode); err != nil {
				return nil, err
			}
			out[tp{r.Topics[i].Name, int(p.PartitionIndex)}] = p.CommittedOffset
		}
	}
	return out, nil
}
