package nats_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/internal/testbroker"
)

func TestASlowSinkMissesWhatItsGapsCount(t *testing.T) {
	server := testbroker.AnyNATS(t, testbroker.NATSOptions{})
	c := open(t, server.URL()+"?buffer_messages=10")
	r := newRecorder()
	r.Block = make(chan struct{})
	subscribe(t, c, r, brokers.Subscription{Name: "slow", Channels: []string{"slow.a"}})
	const n = 20_000 // more than the client's channel and our buffer hold together
	for range n / 100 {
		if err := c.Publish(t.Context(), messages(100, "slow.a")); err != nil {
			t.Fatal(err)
		}
	}
	close(r.Block)
	eventually(t, 10*time.Second, "delivered and missed are what was published", func() bool {
		total := int64(len(r.deliveries()))
		for _, g := range r.gaps() {
			if g.Reason != brokers.GapOverflow {
				t.Fatalf("a gap for the reason %s", g.Reason)
			}
			total += g.Missed
		}
		return total == n
	})
	if len(r.gaps()) == 0 {
		t.Fatal("no gap was reported")
	}
}

func TestNamesThatSteerTheServerAreRejectedBeforeTheClientSeesThem(t *testing.T) {
	server := testbroker.AnyNATS(t, testbroker.NATSOptions{JetStream: true})
	for _, scheme := range bothSchemes {
		c := open(t, scheme+server.Addr())
		for _, name := range []string{
			"$JS.API.STREAM.DELETE.eventbus-a", ">", "a.*", "_INBOX.x", "a b", "a\r\nPUB b 0\r\n", "a\x00", "", strings.Repeat("a", 64<<10),
		} {
			err := c.Publish(t.Context(), []brokers.Message{message("a.b", "good"), message(name, "bad")})
			var batch *brokers.BatchError
			if !errors.As(err, &batch) || len(batch.Failed) != 1 || batch.Failed[0].Index != 1 ||
				batch.Failed[0].Outcome != brokers.Rejected || c.Retryable(err) {
				t.Errorf("%s%.40q: %v", scheme, name, err)
			}
		}
	}
}

func TestASubscriptionComesBackWithinFiveSecondsAndSaysThatItWasAway(t *testing.T) {
	server := testbroker.AnyNATS(t, testbroker.NATSOptions{})
	c := open(t, server.URL())
	r := newRecorder()
	subscribe(t, c, r, brokers.Subscription{Name: "s", Channels: []string{"back.a"}})
	before := time.Now()
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := c.Publish(t.Context(), messages(1, "back.a")); err == nil || !c.Retryable(err) {
		t.Fatalf("Publish to a dead server returned %v", err)
	}
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, 5*time.Second, "the gap is reported", func() bool { return len(r.gaps()) == 1 })
	if g := r.gaps()[0]; g.Reason != brokers.GapReconnect || g.Missed != -1 || g.Err == nil || g.Since.After(before.Add(time.Second)) {
		t.Fatalf("%+v", g)
	}
	eventually(t, 5*time.Second, "messages arrive again", func() bool {
		return c.Publish(t.Context(), []brokers.Message{message("back.a", "after")}) == nil && r.has("after")
	})
}

func TestAFrozenServerIsNoticedAndTheGapBeginsWhenItWasLastHeard(t *testing.T) {
	server := testbroker.RealNATS(t, testbroker.NATSOptions{})
	c := open(t, server.URL()+"?ping_interval=200ms")
	r := newRecorder()
	subscribe(t, c, r, brokers.Subscription{Name: "s", Channels: []string{"frozen.a"}})
	if err := server.Freeze(); err != nil {
		t.Fatal(err)
	}
	frozen := time.Now()
	stay := time.NewTimer(4 * time.Second) // longer than three pings, also on a busy machine: the connection is given up
	<-stay.C
	if err := server.Thaw(); err != nil {
		t.Fatal(err)
	}
	eventually(t, 5*time.Second, "the gap is reported", func() bool { return len(r.gaps()) > 0 })
	if g := r.gaps()[0]; g.Since.After(frozen.Add(300*time.Millisecond)) || g.Until.Before(frozen) {
		t.Fatalf("the gap is from %v to %v, the server was frozen at %v", g.Since, g.Until, frozen)
	}
}

func TestHeadersSayWhatTheBodyDoesNotAndMoreWhereAskedFor(t *testing.T) {
	server := testbroker.AnyNATS(t, testbroker.NATSOptions{JetStream: true})
	full := brokers.Message{
		ID: "id", Type: "t", Key: "k", Priority: 2, Body: []byte("x"), Headers: []brokers.Header{{Key: "trace", Value: "1"}},
	}
	inBody := full
	inBody.KeyInBody = true
	for i, tt := range []struct {
		scheme, mode string
		msg          brokers.Message
		want         brokers.Message
	}{
		{"nats://", "needed", full, brokers.Message{Key: "k"}},
		{"nats://", "needed", inBody, brokers.Message{}},
		{"nats://", "all", inBody, brokers.Message{ID: "id", Type: "t", Key: "k", Priority: 2}},
		{"nats://", "none", full, brokers.Message{}},
		{"nats+js://", "needed", full, brokers.Message{ID: "id", Type: "t", Key: "k"}},
		{"nats+js://", "needed", inBody, brokers.Message{ID: "id", Type: "t"}},
		{"nats+js://", "none", full, brokers.Message{ID: "id"}},
	} {
		c, r := open(t, tt.scheme+server.Addr()+"?headers="+tt.mode), newRecorder()
		tt.msg.Channel = fmt.Sprintf("headers.%d", i)
		subscribe(t, c, r, brokers.Subscription{Name: "s", Channels: []string{tt.msg.Channel}})
		if err := c.Publish(t.Context(), []brokers.Message{tt.msg}); err != nil {
			t.Fatal(err)
		}
		eventually(t, 5*time.Second, "it arrives", func() bool { return len(r.deliveries()) > 0 })
		got := r.deliveries()[0]
		if got.ID != tt.want.ID || got.Type != tt.want.Type || got.Key != tt.want.Key || got.Priority != tt.want.Priority ||
			len(got.Headers) != 1 {
			t.Errorf("%s headers=%s, key in body %v: %+v", tt.scheme, tt.mode, tt.msg.KeyInBody, got.Message)
		}
	}
}
