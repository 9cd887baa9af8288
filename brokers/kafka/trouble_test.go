package kafka_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/internal/testbroker"
)

// Suppose what can never work were tried again for ever: the service would be up, and nobody would know that it reads nothing.
func TestASubscriptionThatCanNeverWorkIsAnError(t *testing.T) {
	server := testbroker.StartKafka(t, testbroker.KafkaOptions{InProcess: true})
	for _, tt := range []struct {
		name, query, group string
		want               error
	}{
		{"three replicas on one broker", "?replication=3&startup_timeout=300ms", "never", kafkago.InvalidReplicationFactor},
		{"three replicas on one broker, without a group", "?replication=3&startup_timeout=300ms", "", kafkago.InvalidReplicationFactor},
		{"a session that the broker finds too short", "?session_timeout=500ms&heartbeat_interval=100ms", "never",
			kafkago.InvalidSessionTimeout},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := openURL(t, server.URL()+tt.query)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			r := &recorder{ready: make(chan struct{})}
			channel := "never." + tt.query[1:2]
			err := c.Subscribe(ctx, brokers.Subscription{Group: tt.group, Channels: []string{channel}}, r)
			if !errors.Is(err, tt.want) || c.Retryable(err) || isDone(r.ready) {
				t.Errorf("%v, ready %v; wants %v", err, isDone(r.ready), tt.want)
			}
		})
	}
}

// A reporter is a recorder that notes gaps.
type reporter struct {
	recorder
	gaps chan brokers.Gap
}

func (r *reporter) Gap(g brokers.Gap) { r.gaps <- g }

// Once a subscription has worked, somebody may mend what keeps it from going on, such as a member that shares otherwise.
func TestWhatKeepsASubscriptionFromGoingOnIsReportedOnce(t *testing.T) {
	cluster := fakeCluster(t)
	var broken atomic.Bool
	var joins atomic.Int32
	cluster.ControlKey(int16(kmsg.Heartbeat), func(req kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		r := req.ResponseKind().(*kmsg.HeartbeatResponse)
		r.ErrorCode = int16(kafkago.RebalanceInProgress)
		return r, nil, broken.Load()
	})
	cluster.ControlKey(int16(kmsg.JoinGroup), func(req kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		r := req.ResponseKind().(*kmsg.JoinGroupResponse)
		r.ErrorCode = int16(kafkago.InconsistentGroupProtocol)
		if broken.Load() {
			joins.Add(1)
		}
		return r, nil, broken.Load()
	})
	c := openURL(t, "kafka://"+cluster.ListenAddrs()[0]+quick)
	r := &reporter{recorder{ready: make(chan struct{})}, make(chan brokers.Gap, 100)}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Subscribe(ctx, brokers.Subscription{Group: "odd", Channels: []string{"odd.a"}}, r) }()
	eventually(t, "it is ready", func() bool { return isDone(r.ready) })
	broken.Store(true)
	eventually(t, "it is tried again", func() bool { return joins.Load() >= 2 })
	broken.Store(false)
	if err := publish(t.Context(), c, numbered("odd.a", 3, 3)...); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it goes on", func() bool { return r.distinct() == 3 })
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if len(r.gaps) != 1 {
		t.Fatalf("%d gaps are reported for %d attempts", len(r.gaps), joins.Load())
	}
	if g := <-r.gaps; !errors.Is(g.Err, kafkago.InconsistentGroupProtocol) {
		t.Errorf("%+v", g)
	}
}

// Suppose a service and its cluster start together, and want three replicas: until three brokers have come, the cluster answers as if
// there would never be as many.
func TestTopicsWaitForTheBrokersOfAClusterThatStarts(t *testing.T) {
	cluster := fakeCluster(t)
	var starting atomic.Bool
	var asked atomic.Int32
	cluster.ControlKey(int16(kmsg.CreateTopics), func(req kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		if !starting.Load() {
			return nil, nil, false
		}
		asked.Add(1)
		return tooFewBrokers(req.(*kmsg.CreateTopicsRequest)), nil, true
	})
	starting.Store(true)
	c := openURL(t, "kafka://"+cluster.ListenAddrs()[0]+quick+"&startup_timeout=1h")
	r := &recorder{ready: make(chan struct{})}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- c.Subscribe(ctx, brokers.Subscription{Name: "early", Group: "early", Channels: []string{"early.a"}}, r)
	}()
	eventually(t, "the subscription is tried again", func() bool { return asked.Load() >= 3 })
	failed := new(brokers.BatchError)
	err := publish(t.Context(), c, numbered("early.b", 1, 1)...)
	if !errors.As(err, &failed) || failed.Failed[0].Outcome != brokers.NotSent || !c.Retryable(failed.Failed[0].Err) {
		t.Errorf("Publish: %v", err)
	}
	if w := warnings(c); !strings.Contains(w, `"early" has no partitions`) || !strings.Contains(w, "the cluster has 1 brokers yet") {
		t.Errorf("warnings: %q", w)
	}
	starting.Store(false)
	eventually(t, "the subscription is ready", func() bool { return isDone(r.ready) })
	if w := warnings(c); w != "" {
		t.Errorf("warnings that are over: %q", w)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func tooFewBrokers(req *kmsg.CreateTopicsRequest) kmsg.Response {
	r := req.ResponseKind().(*kmsg.CreateTopicsResponse)
	for _, topic := range req.Topics {
		t := kmsg.NewCreateTopicsResponseTopic()
		t.Topic, t.ErrorCode = topic.Topic, int16(kafkago.InvalidReplicationFactor)
		r.Topics = append(r.Topics, t)
	}
	return r
}

func warnings(c brokers.Conn) string { return strings.Join(c.(brokers.Warner).Warnings(), "\n") }

// Suppose commits, heartbeats or fetches fail for an hour: nothing is delivered, and nothing else would say so.
func TestWhatIsTriedAgainIsWarnedOfUntilItWorks(t *testing.T) {
	cluster := fakeCluster(t)
	var broken atomic.Bool
	for key, refuse := range map[kmsg.Key]func(kmsg.Request) kmsg.Response{
		kmsg.OffsetCommit: func(req kmsg.Request) kmsg.Response { return refusal(req.(*kmsg.OffsetCommitRequest)) },
		kmsg.Heartbeat: func(req kmsg.Request) kmsg.Response {
			r := req.ResponseKind().(*kmsg.HeartbeatResponse)
			r.ErrorCode = int16(kafkago.GroupCoordinatorNotAvailable)
			return r
		},
		kmsg.Fetch: func(req kmsg.Request) kmsg.Response {
			r := req.ResponseKind().(*kmsg.FetchResponse)
			r.ErrorCode = int16(kafkago.KafkaStorageError)
			return r
		},
	} {
		cluster.ControlKey(int16(key), func(req kmsg.Request) (kmsg.Response, error, bool) {
			cluster.KeepControl()
			if !broken.Load() {
				return nil, nil, false
			}
			return refuse(req), nil, true
		})
	}
	c := openURL(t, "kafka://"+cluster.ListenAddrs()[0]+quick)
	gate := make(chan struct{})
	r := &recorder{ready: make(chan struct{}), gate: gate}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- c.Subscribe(ctx, brokers.Subscription{Name: "sub", Group: "again", Channels: []string{"again.a"}}, r)
	}()
	if err := publish(t.Context(), c, numbered("again.a", 3, 3)...); err != nil {
		t.Fatal(err)
	}
	eventually(t, "what is to be committed arrives", func() bool { return r.distinct() > 0 })
	if w := warnings(c); w != "" {
		t.Errorf("warnings without trouble: %q", w)
	}
	broken.Store(true)
	close(gate) // what arrived is settled now
	seen := ""  // not all at once: without heartbeats the partitions are given up
	eventually(t, "all three are warned of", func() bool {
		seen += warnings(c)
		return strings.Contains(seen, `"sub" cannot commit`) && strings.Contains(seen, `"sub" cannot show its group`) &&
			strings.Contains(seen, `"sub" gets nothing of partition`)
	})
	broken.Store(false)
	eventually(t, "the warnings are taken back", func() bool { return warnings(c) == "" })
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
