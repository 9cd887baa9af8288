package nats_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/internal/testbroker"
)

func jetServer(t testing.TB) *testbroker.NATS {
	return testbroker.AnyNATS(t, testbroker.NATSOptions{JetStream: true})
}

// admin is a JetStream client of its own.
func admin(t testing.TB, server *testbroker.NATS) jetstream.JetStream {
	t.Helper()
	nc, err := natsgo.Connect(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

func numbered(from, n int, channel string) []brokers.Message {
	out := make([]brokers.Message, n)
	for i := range out {
		out[i] = message(channel, fmt.Sprintf("body-%d", from+i))
		out[i].ID = fmt.Sprintf("id-%d", from+i)
	}
	return out
}

func TestADeletedConsumerIsMadeAgainAndLosesNothing(t *testing.T) {
	for _, group := range []string{"g", ""} {
		t.Run("group "+group, func(t *testing.T) {
			server := jetServer(t)
			c, js := open(t, server.JetURL()), admin(t, server)
			r := newRecorder()
			subscribe(t, c, r, brokers.Subscription{Name: "s", Group: group, Channels: []string{"heal.a"}})
			if err := c.Publish(t.Context(), numbered(0, 10, "heal.a")); err != nil {
				t.Fatal(err)
			}
			eventually(t, 5*time.Second, "all arrive", func() bool { return r.has("body-9") })
			if err := js.DeleteConsumer(t.Context(), "eventbus-heal", consumerInfo(t, js, "eventbus-heal").Name); err != nil {
				t.Fatal(err)
			}
			if err := c.Publish(t.Context(), numbered(10, 10, "heal.a")); err != nil {
				t.Fatal(err)
			}
			eventually(t, 5*time.Second, "what came after arrives, and a gap", func() bool {
				return r.has("body-10") && r.has("body-19") && len(r.gaps()) == 1
			})
			if g := r.gaps()[0]; g.Missed != 0 || g.Err == nil {
				t.Errorf("%+v", g)
			}
		})
	}
}

func TestADeletedStreamIsMadeAgainAndSaidToBeLost(t *testing.T) {
	server := jetServer(t)
	c, js := open(t, server.JetURL()), admin(t, server)
	r := newRecorder()
	subscribe(t, c, r, brokers.Subscription{Name: "s", Group: "g", Channels: []string{"heal.a"}})
	if err := c.Publish(t.Context(), numbered(0, 10, "heal.a")); err != nil {
		t.Fatal(err)
	}
	eventually(t, 5*time.Second, "all arrive", func() bool { return r.has("body-9") })
	if err := js.DeleteStream(t.Context(), "eventbus-heal"); err != nil {
		t.Fatal(err)
	}
	eventually(t, 5*time.Second, "a gap", func() bool { return len(r.gaps()) == 1 && r.gaps()[0].Missed == -1 })
	after := numbered(10, 10, "heal.a")
	eventually(t, 5*time.Second, "it can be published again", func() bool { return c.Publish(t.Context(), after) == nil })
	eventually(t, 5*time.Second, "what came after arrives", func() bool { return r.has("body-10") && r.has("body-19") })
}

func TestPublishMakesADeletedStreamAgain(t *testing.T) {
	server := jetServer(t)
	c, js := open(t, server.JetURL()), admin(t, server)
	if err := c.Publish(t.Context(), numbered(0, 1, "gone.a")); err != nil {
		t.Fatal(err)
	}
	if err := js.DeleteStream(t.Context(), "eventbus-gone"); err != nil {
		t.Fatal(err)
	}
	err := c.Publish(t.Context(), numbered(1, 1, "gone.a"))
	var batch *brokers.BatchError
	if !errors.As(err, &batch) || batch.Failed[0].Outcome != brokers.NotSent || !c.Retryable(err) {
		t.Fatalf("%v, want NotSent and retryable", err)
	}
	if err := c.Publish(t.Context(), numbered(1, 1, "gone.a")); err != nil {
		t.Fatal(err)
	}
}

func TestAHandlerThatTakesLeasesRunsOnce(t *testing.T) {
	server := jetServer(t)
	c := open(t, server.JetURL()+"?ack_wait=5s") // which a busy machine does not outlast between two prolongations
	r := newRecorder()
	r.SettleNothing()
	subscribe(t, c, r, brokers.Subscription{Name: "s", Group: "g", Channels: []string{"long.a"}})
	t.Cleanup(func() { letGo(r) })
	if err := c.Publish(t.Context(), numbered(0, 1, "long.a")); err != nil {
		t.Fatal(err)
	}
	eventually(t, 5*time.Second, "it arrives", func() bool { return r.has("body-0") })
	<-time.After(7 * time.Second)
	got := r.deliveries()
	if len(got) != 1 {
		t.Errorf("it was delivered %d times", len(got))
	}
	if err := got[0].Settler.Settle(t.Context(), []brokers.Settlement{{Token: got[0].Token}}); err != nil {
		t.Error(err)
	}
	js := admin(t, server)
	eventually(t, 5*time.Second, "the server has counted the ack, which it reads first", func() bool {
		return consumerInfo(t, js, "eventbus-long").NumAckPending == 0
	})
	if n := consumerInfo(t, js, "eventbus-long").Delivered.Consumer; n != 1 {
		t.Errorf("the server delivered it %d times", n)
	}
}

func consumerInfo(t *testing.T, js jetstream.JetStream, stream string) *jetstream.ConsumerInfo {
	t.Helper()
	s, err := js.Stream(t.Context(), stream)
	if err != nil {
		t.Fatal(err)
	}
	for info := range s.ListConsumers(t.Context()).Info() {
		return info
	}
	t.Fatal("there is no consumer")
	return nil
}

func TestWithoutLeaveToMakeStreamsTheirLackIsSaid(t *testing.T) {
	server := jetServer(t)
	c, js := open(t, server.JetURL()+"?create=false"), admin(t, server)
	err := c.Publish(t.Context(), numbered(0, 1, "strict.a"))
	var batch *brokers.BatchError
	if !errors.As(err, &batch) || batch.Failed[0].Outcome != brokers.NotSent || c.Retryable(err) {
		t.Fatalf("%v, want NotSent and not retryable", err)
	}
	err = c.Subscribe(t.Context(), brokers.Subscription{Name: "s", Channels: []string{"strict.a"}}, newRecorder())
	if err == nil || c.Retryable(err) {
		t.Fatalf("Subscribe returned %v", err)
	}
	// A stream of the operator's, under a name of its own, is found by its subjects.
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "OPS", Subjects: []string{"strict.>"}}); err != nil {
		t.Fatal(err)
	}
	if err := c.Publish(t.Context(), numbered(0, 1, "strict.a")); err != nil {
		t.Fatal(err)
	}
}

func TestWithoutJetStreamOneErrorSaysSo(t *testing.T) {
	server := testbroker.AnyNATS(t, testbroker.NATSOptions{})
	c := open(t, server.JetURL())
	if err := c.Publish(t.Context(), numbered(0, 1, "none.a")); err == nil || c.Retryable(err) {
		t.Errorf("Publish returned %v", err)
	}
	err := c.Subscribe(t.Context(), brokers.Subscription{Name: "s", Channels: []string{"none.a"}}, newRecorder())
	if err == nil || c.Retryable(err) {
		t.Errorf("Subscribe returned %v", err)
	}
}

func TestPatternsThatOverlapDeliverEachMessageOnceAndNothingElse(t *testing.T) {
	server := jetServer(t)
	c := open(t, server.JetURL())
	r := newRecorder()
	subscribe(t, c, r, brokers.Subscription{Name: "s", Group: "g", Channels: []string{"o.*.x", "o.a.*"}})
	var want int
	for i, ch := range []string{"o.a.x", "o.b.x", "o.a.y", "o.b.y"} {
		if err := c.Publish(t.Context(), numbered(i, 1, ch)); err != nil {
			t.Fatal(err)
		}
		want = i
	}
	eventually(t, 5*time.Second, "three arrive", func() bool { return len(r.deliveries()) == want })
	<-time.After(50 * time.Millisecond)
	if n := len(r.deliveries()); n != 3 || r.has("body-3") {
		t.Errorf("%d arrived", n)
	}
}

// Two kills in the middle of many publishes: everything that is sent again has the id that it had, so that the stream has each
// once, and the group gets all of it.
func TestNothingIsLostOrStoredTwiceOverTwoKills(t *testing.T) {
	server := testbroker.RealNATS(t, testbroker.NATSOptions{JetStream: true})
	c := open(t, server.JetURL()+"?ping_interval=500ms&ack_wait=2s")
	r := newRecorder()
	subscribe(t, c, r, brokers.Subscription{Name: "s", Group: "g", Channels: []string{"kill.a"}})
	const total, size = 9000, 100
	kills := make(chan error, 2)
	for from := 0; from < total; from += size {
		if from == total/3 || from == 2*total/3 {
			go func() { kills <- errors.Join(server.Kill(), server.Restart(context.Background())) }()
		}
		left := numbered(from, size, "kill.a")
		eventually(t, 10*time.Second, "the batch is taken", func() bool {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			var batch *brokers.BatchError
			if !errors.As(c.Publish(ctx, left), &batch) {
				return true
			}
			again := make([]brokers.Message, len(batch.Failed))
			for i, f := range batch.Failed {
				again[i] = left[f.Index]
			}
			left = again
			return false
		})
	}
	for range 2 {
		if err := <-kills; err != nil {
			t.Fatal(err)
		}
	}
	seen := make(map[string]bool)
	eventually(t, 15*time.Second, "all arrive", func() bool {
		for _, d := range r.deliveries() {
			seen[d.ID] = true
		}
		return len(seen) == total
	})
	s, err := admin(t, server).Stream(t.Context(), "eventbus-kill")
	if err != nil {
		t.Fatal(err)
	}
	if n := s.CachedInfo().State.Msgs; n != total {
		t.Errorf("the stream has %d messages, want %d", n, total)
	}
	t.Logf("%d deliveries of %d messages", len(r.deliveries()), total)
}
