package kafka_test

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/eventbus-go/eventbus/brokers"
)

// What one replica has is lost with it: each batch is confirmed by all of those that are in sync.
func TestABatchIsConfirmedByAllReplicas(t *testing.T) {
	cluster := fakeCluster(t)
	var batches, careless atomic.Int32
	cluster.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		batches.Add(1)
		if req.(*kmsg.ProduceRequest).Acks != -1 {
			careless.Add(1)
		}
		return nil, nil, false
	})
	c := openURL(t, "kafka://"+cluster.ListenAddrs()[0]+quick)
	if err := publish(t.Context(), c, numbered("acks.a", 100, 7)...); err != nil {
		t.Fatal(err)
	}
	if batches.Load() == 0 || careless.Load() > 0 {
		t.Errorf("%d of %d requests ask for less than all replicas", careless.Load(), batches.Load())
	}
}

// Suppose a commit that was refused were taken for one that was not: nobody would commit the same again, and after a crash
// everything since the last good one would come again.
func TestACommitThatWasRefusedIsMadeAgain(t *testing.T) {
	cluster := fakeCluster(t)
	var refusing atomic.Bool
	var refused atomic.Int32
	cluster.ControlKey(int16(kmsg.OffsetCommit), func(req kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		if !refusing.Load() {
			return nil, nil, false
		}
		refused.Add(1)
		return refusal(req.(*kmsg.OffsetCommitRequest)), nil, true
	})
	c := openURL(t, "kafka://"+cluster.ListenAddrs()[0]+quick)
	r := &recorder{ready: make(chan struct{})}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- c.Subscribe(ctx, brokers.Subscription{Group: "refused", Channels: []string{"refused.a"}}, r)
	}()
	if err := publish(t.Context(), c, numbered("refused.a", 3, 3)...); err != nil {
		t.Fatal(err)
	}
	waiting := func() int64 {
		lag, err := c.(brokers.Lagger).Lag(t.Context(), "refused", []string{"refused.a"})
		if err != nil || len(lag) != 1 {
			return -1
		}
		return lag[0].Waiting
	}
	eventually(t, "all is committed", func() bool { return r.distinct() == 3 && waiting() == 0 })
	refusing.Store(true)
	if err := publish(t.Context(), c, numbered("refused.a", 4, 4)[3:]...); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the commit that was refused is made again", func() bool { return refused.Load() > 1 })
	refusing.Store(false)
	eventually(t, "all is committed then", func() bool { return r.distinct() == 4 && waiting() == 0 })
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// refusal says that each partition's coordinator is not ready.
func refusal(req *kmsg.OffsetCommitRequest) kmsg.Response {
	r := req.ResponseKind().(*kmsg.OffsetCommitResponse)
	for _, topic := range req.Topics {
		t := kmsg.NewOffsetCommitResponseTopic()
		t.Topic = topic.Topic
		for _, p := range topic.Partitions {
			part := kmsg.NewOffsetCommitResponseTopicPartition()
			const coordinatorNotAvailable = 15
			part.Partition, part.ErrorCode = p.Partition, coordinatorNotAvailable
			t.Partitions = append(t.Partitions, part)
		}
		r.Topics = append(r.Topics, t)
	}
	return r
}

// Suppose a batch of a partition fails, and the next one is sent: what is sent again of the first one comes behind it, and with it
// the order of a key is gone.
func TestNoBatchOvertakesOneThatFailed(t *testing.T) {
	cluster := fakeCluster(t)
	var failing atomic.Bool
	var requests atomic.Int32
	cluster.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		if requests.Add(1); !failing.Swap(false) {
			return nil, nil, false
		}
		return notLeading(req.(*kmsg.ProduceRequest)), nil, true
	})
	c := openURL(t, "kafka://"+cluster.ListenAddrs()[0]+"?partitions=1&max_bytes=1000")
	msgs := numbered("overtake.a", 200, 1) // several batches: a batch has 49 KB
	for i := range msgs {
		msgs[i].Body = make([]byte, 1000)
	}
	if err := publish(t.Context(), c, msgs...); err != nil || requests.Load() < 3 {
		t.Fatalf("%d requests, %v", requests.Load(), err)
	}
	requests.Store(0)
	failing.Store(true)
	err := publish(t.Context(), c, msgs...)
	failed := new(brokers.BatchError)
	if !errors.As(err, &failed) || len(failed.Failed) != len(msgs) || requests.Load() != 1 {
		t.Fatalf("%d messages of %d failed, and %d requests were sent: %v", len(failed.Failed), len(msgs), requests.Load(), err)
	}
	for _, f := range failed.Failed {
		if f.Outcome != brokers.NotSent {
			t.Errorf("message %d is %v, wants not sent", f.Index, f.Outcome)
			break
		}
	}
}

// Suppose a topic takes less at once than a batch has: each message would fit, and none is lost for the others' sake.
func TestWhatFitsIsNotRejectedWithABatchThatDoesNot(t *testing.T) {
	cluster := fakeCluster(t)
	var code, requests atomic.Int32
	const limit = 20_000
	cluster.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		requests.Add(1)
		r := req.(*kmsg.ProduceRequest)
		if len(r.Topics[0].Partitions[0].Records) <= limit {
			return nil, nil, false
		}
		return refusing(r, int16(code.Load())), nil, true
	})
	c := openURL(t, "kafka://"+cluster.ListenAddrs()[0]+"?partitions=1")
	for _, refused := range []kafkago.Error{kafkago.MessageSizeTooLarge, kafkago.RecordListTooLarge} {
		code.Store(int32(refused))
		msgs := numbered("small.a"+strconv.Itoa(int(refused)), 40, 40) // 120 KB
		for i := range msgs {
			msgs[i].Body = make([]byte, 3000)
		}
		const large = 7
		msgs[large].Body = make([]byte, limit)
		rejected := publishInParts(t, c, msgs)
		if len(rejected) != 1 || rejected[0] != msgs[large].ID {
			t.Errorf("%q are rejected, wants %s", rejected, msgs[large].ID)
		}
		requests.Store(0)
		fit := slices.Delete(msgs, large, large+1)
		if err := publish(t.Context(), c, fit...); err != nil || requests.Load() < 2 {
			t.Errorf("what was learnt is forgotten: %d requests, %v", requests.Load(), err)
		}
	}
}

// publishInParts publishes as the bus does, and returns what was rejected.
func publishInParts(t *testing.T, c brokers.Conn, msgs []brokers.Message) (rejected []string) {
	t.Helper()
	for range 20 {
		failed := new(brokers.BatchError)
		err := publish(t.Context(), c, msgs...)
		if err == nil {
			return rejected
		}
		if !errors.As(err, &failed) {
			t.Fatal(err)
		}
		var again []brokers.Message
		for _, f := range failed.Failed {
			switch {
			case f.Outcome == brokers.Rejected:
				rejected = append(rejected, msgs[f.Index].ID)
			case f.Outcome == brokers.NotSent && c.Retryable(f.Err):
				again = append(again, msgs[f.Index])
			default:
				t.Fatalf("message %d is %v: %v", f.Index, f.Outcome, f.Err)
			}
		}
		if msgs = again; len(msgs) == 0 {
			return rejected
		}
	}
	t.Fatalf("%d messages are never taken", len(msgs))
	return nil
}

// notLeading refuses each partition, of which nothing is appended.
func notLeading(req *kmsg.ProduceRequest) kmsg.Response {
	return refusing(req, int16(kafkago.NotLeaderForPartition))
}

func refusing(req *kmsg.ProduceRequest, code int16) kmsg.Response {
	r := req.ResponseKind().(*kmsg.ProduceResponse)
	for _, topic := range req.Topics {
		t := kmsg.NewProduceResponseTopic()
		t.Topic = topic.Topic
		for _, p := range topic.Partitions {
			part := kmsg.NewProduceResponseTopicPartition()
			part.Partition, part.ErrorCode = p.Partition, code
			t.Partitions = append(t.Partitions, part)
		}
		r.Topics = append(r.Topics, t)
	}
	return r
}
