package kafka_test

import (
	"context"
	"errors"
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
		{"three replicas on one broker", "?replication=3", "never", kafkago.InvalidReplicationFactor},
		{"three replicas on one broker, without a group", "?replication=3", "", kafkago.InvalidReplicationFactor},
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
