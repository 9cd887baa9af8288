package kafka

import (
	"context"
	"encoding/binary"
	"errors"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/consumer"
	"github.com/segmentio/kafka-go/protocol/joingroup"
	"github.com/segmentio/kafka-go/protocol/syncgroup"
)

// balancers share partitions among members; the group takes the first one that all members know. They are those of the
// Java client, by name and by outcome.
var balancers = []kafkago.GroupBalancer{kafkago.RangeGroupBalancer{}, kafkago.RoundRobinGroupBalancer{}}

// protocolType is what consumers call their kind of group.
const protocolType = "consumer"

// join joins the group's next generation and returns the partitions that it gives to this member.
func (m *member) join(topics []string) ([]tp, error) {
	meta, err := protocol.Marshal(consumer.MaxVersionSupported, consumer.Subscription{
		Version: consumer.MaxVersionSupported, Topics: topics,
	})
	if err != nil {
		return nil, err
	}
	req := &joingroup.Request{
		GroupID: m.group, MemberID: m.id, ProtocolType: protocolType,
		SessionTimeoutMS:   int32(m.c.set.session.Milliseconds()),
		RebalanceTimeoutMS: int32(m.c.set.rebalance.Milliseconds()),
	}
	for _, b := range balancers {
		req.Protocols = append(req.Protocols, joingroup.RequestProtocol{Name: b.ProtocolName(), Metadata: meta})
	}
	// The broker answers once all members have joined.
	ctx, cancel := context.WithTimeout(m.k.ctx, m.c.set.rebalance+m.c.set.requestTimeout)
	defer cancel()
	joined, err := reply[*joingroup.Response](ctx, m.c, req)
	if err == nil {
		err = codeError(joined.ErrorCode)
		if joined.MemberID != "" && (err == nil || errors.Is(err, kafkago.MemberIDRequired)) {
			m.id = joined.MemberID
		}
	}
	if err != nil {
		return nil, err
	}
	m.generation = joined.GenerationID
	return m.sync(ctx, joined)
}

// sync gives the others their partitions, where this member is the group's leader, and returns its own.
func (m *member) sync(ctx context.Context, joined *joingroup.Response) ([]tp, error) {
	req := &syncgroup.Request{
		GroupID: m.group, GenerationID: m.generation, MemberID: m.id, ProtocolType: protocolType,
		ProtocolName: joined.ProtocolName,
	}
	if joined.LeaderID == m.id {
		var err error
		if req.Assignments, err = share(joined, m.topics); err != nil {
			return nil, err
		}
	}
	r, err := reply[*syncgroup.Response](ctx, m.c, req)
	if err == nil {
		err = codeError(r.ErrorCode)
	}
	if err != nil || len(r.Assignments) == 0 {
		return nil, err
	}
	var mine consumer.Assignment
	if err := unmarshal(r.Assignments, &mine); err != nil {
		return nil, err
	}
	var out []tp
	for _, t := range mine.AssignedPartitions {
		for _, id := range t.Partitions {
			out = append(out, tp{t.Topic, int(id)})
		}
	}
	return out, nil
}

// share decides who gets which partition. It is a pure function.
func share(joined *joingroup.Response, topics map[string]*topic) ([]syncgroup.RequestAssignment, error) {
	var members []kafkago.GroupMember
	wanted := make(map[string]bool)
	for i := range joined.Members {
		var sub consumer.Subscription
		if err := unmarshal(joined.Members[i].Metadata, &sub); err != nil {
			return nil, err
		}
		for _, t := range sub.Topics {
			wanted[t] = true
		}
		members = append(members, kafkago.GroupMember{
			ID: joined.Members[i].MemberID, Topics: sub.Topics, UserData: sub.UserData,
		})
	}
	var parts []kafkago.Partition
	for name := range wanted {
		if t := topics[name]; t != nil {
			for _, id := range t.ids {
				parts = append(parts, kafkago.Partition{Topic: name, ID: id})
			}
		}
	}
	balancer := balancers[0]
	for _, b := range balancers {
		if b.ProtocolName() == joined.ProtocolName {
			balancer = b
		}
	}
	shares := balancer.AssignGroups(members, parts)
	out := make([]syncgroup.RequestAssignment, 0, len(members))
	for _, mb := range members {
		a := consumer.Assignment{Version: consumer.MaxVersionSupported}
		for name, ids := range shares[mb.ID] {
			t := consumer.TopicPartition{Topic: name}
			for _, id := range ids {
				t.Partitions = append(t.Partitions, int32(id))
			}
			a.AssignedPartitions = append(a.AssignedPartitions, t)
		}
		b, err := protocol.Marshal(consumer.MaxVersionSupported, a)
		if err != nil {
			return nil, err
		}
		out = append(out, syncgroup.RequestAssignment{MemberID: mb.ID, Assignment: b})
	}
	return out, nil
}

// unmarshal reads what begins with its own version, which other clients choose.
func unmarshal(b []byte, v any) error {
	if len(b) < 2 {
		return errors.New("a member of the group has sent what is not of the consumer protocol")
	}
	return protocol.Unmarshal(b, min(int16(binary.BigEndian.Uint16(b)), consumer.MaxVersionSupported), v)
}

// reply is ask with the limits of ctx only: the requests of this file wait for other members.
func reply[R protocol.Message](ctx context.Context, c *conn, req protocol.Message) (R, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.life, cancel)()
	m, err := c.client.RoundTrip(ctx, c.seeds, req)
	r, ok := m.(R)
	if err == nil && !ok {
		err = errors.New("the broker's response is not one to the request")
	}
	return r, err
}
