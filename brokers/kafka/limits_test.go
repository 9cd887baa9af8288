package kafka

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/eventbus-go/eventbus/brokers"
)

func TestABatchLimitFallsAtOnceAndRisesByTrying(t *testing.T) {
	const most = 1000
	var l batchLimits
	l.init(most, limitFirst)
	now := time.Now()
	next := func(want int) {
		t.Helper()
		if got := l.next("a", now); got != want {
			t.Errorf("the next batch may have %d bytes, wants %d", got, want)
		}
	}
	next(most)
	l.refused("a", 800, now)
	next(400)
	l.refused("a", 900, now) // of another Publish, which was under way: it says nothing new
	next(400)
	l.refused("a", 300, now)
	next(150)
	now = now.Add(limitFirst)
	next(300) // a try
	l.taken("a", 20)
	next(300) // there was not enough to send
	next(150) // and no other one until it is answered
	l.refused("a", 290, now)
	next(150)
	now = now.Add(limitFirst)
	next(150) // a try that failed makes the next one later
	now = now.Add(limitFirst)
	next(300)
	l.taken("a", 290)
	next(580) // the limit was raised: at once the next one
	l.taken("a", 580)
	next(most)
	l.taken("a", 990)
	next(most)
	if len(l.byTopic) != 0 {
		t.Errorf("a topic that takes all has the limit %+v", *l.byTopic["a"])
	}
	l.refused("a", 800, now)
	l.taken("a", 450) // a single message, say
	next(450)
	for range 20 {
		now = now.Add(limitLongest)
		l.next("a", now)
		l.refused("a", 900, now)
	}
	next(450)
	if now = now.Add(limitLongest); l.next("a", now) != 900 {
		t.Error("it is not tried any more")
	}
}

// Suppose an operator raises max.message.bytes of a topic that has refused a batch: small batches for ever would be slow for ever.
func TestATopicWhoseLimitWasRaisedIsUsedFullyAgain(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	var limit, requests atomic.Int32
	cluster.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		requests.Add(1)
		r := req.(*kmsg.ProduceRequest)
		if len(r.Topics[0].Partitions[0].Records) <= int(limit.Load()) {
			return nil, nil, false
		}
		part := kmsg.NewProduceResponseTopicPartition()
		part.ErrorCode = int16(kafkago.MessageSizeTooLarge)
		topic := kmsg.NewProduceResponseTopic()
		topic.Topic, topic.Partitions = r.Topics[0].Topic, append(topic.Partitions, part)
		res := r.ResponseKind().(*kmsg.ProduceResponse)
		res.Topics = append(res.Topics, topic)
		return res, nil, true
	})
	opened, err := brokers.Open(t.Context(), "kafka://"+cluster.ListenAddrs()[0]+"?partitions=1")
	if err != nil {
		t.Fatal(err)
	}
	c := opened.(*conn)
	defer func() { _ = c.Close(context.Background()) }()
	msgs := make([]brokers.Message, 100)
	for i := range msgs {
		msgs[i] = brokers.Message{Channel: "raised.a", Body: make([]byte, 3000)}
	}
	publish := func() int {
		requests.Store(0)
		_ = c.Publish(t.Context(), msgs) // what is refused is not what this is about
		return int(requests.Load())
	}
	limited := func() *batchLimit { return c.cluster.limits.byTopic["raised.a"] } // used between two calls of Publish only
	limit.Store(50_000)
	for publish(); limited().bytes > 50_000; {
		publish()
	}
	limit.Store(1 << 20)
	if n := publish(); n < 6 {
		t.Errorf("%d requests for what was refused in so few batches", n)
	}
	limited().due = time.Now() // limitFirst later
	for range 3 {
		publish()
	}
	if n := publish(); n != 1 {
		t.Errorf("%d requests for what is one batch", n)
	}
}
