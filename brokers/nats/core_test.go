package nats_test

import (
	"errors"
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
	r.block = make(chan struct{})
	subscribe(t, c, r, brokers.Subscription{Name: "slow", Channels: []string{"slow.a"}})
	const n = 20_000 // more than the client's channel and our buffer hold together
	for range n / 100 {
		if err := c.Publish(t.Context(), messages(100, "slow.a")); err != nil {
			t.Fatal(err)
		}
	}
	close(r.block)
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
	stay := time.NewTimer(time.Second) // longer than three pings: the connection is given up
	<-stay.C
	if err := server.Thaw(); err != nil {
		t.Fatal(err)
	}
	eventually(t, 5*time.Second, "the gap is reported", func() bool { return len(r.gaps()) > 0 })
	if g := r.gaps()[0]; g.Since.After(frozen.Add(300*time.Millisecond)) || g.Until.Before(frozen) {
		t.Fatalf("the gap is from %v to %v, the server was frozen at %v", g.Since, g.Until, frozen)
	}
}
