package memory_test

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/brokers/memory"
)

func open(t *testing.T, url string) brokers.Conn {
	t.Helper()
	c, err := brokers.Open(t.Context(), url)
	if err != nil {
		t.Fatalf("%s: %v", url, err)
	}
	return c
}

func TestConnectionsShareABrokerByName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := open(t, "memory://shared"), open(t, "memory://shared")
		other, private, private2 := open(t, "memory://other"), open(t, "memory://"), open(t, "memory://")
		defer closeAll(t, a, b, other, private, private2)
		s := subscribe(t, a, brokers.Subscription{Channels: []string{"a"}})
		alone := subscribe(t, private, brokers.Subscription{Channels: []string{"a"}})
		publish(t, b, "a", "of the same name")
		publish(t, other, "a", "of another name")
		publish(t, private2, "a", "of another connection")
		publish(t, private, "a", "of its own")
		expect(t, "what arrives by name", s.bodies(), "of the same name")
		expect(t, "what arrives without a name", alone.bodies(), "of its own")
	})
}

func TestABrokerEndsWithItsLastConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sub := brokers.Subscription{Channels: []string{"a"}, Group: "g"}
		a, b := open(t, "memory://ending"), open(t, "memory://ending")
		subscribe(t, a, sub).stop()
		synctest.Wait()
		closeAll(t, a)
		publish(t, b, "a", "kept for the group")
		c := open(t, "memory://ending")
		closeAll(t, b)
		s := subscribe(t, c, sub)
		expect(t, "what the group has while a connection is open", s.bodies(), "kept for the group")
		s.stop()
		closeAll(t, c)
		d := open(t, "memory://ending")
		defer closeAll(t, d)
		expect(t, "what it has of an earlier broker", subscribe(t, d, sub).bodies())
	})
}

func TestParametersBoundTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, url := range []string{"memory://?queue=1", "memory://?queue_bytes=2"} {
			c := open(t, url)
			s := subscribe(t, c, brokers.Subscription{Channels: []string{"a"}})
			go func() { _ = c.Publish(t.Context(), messages("a", "12", "3")) }()
			expect(t, "what arrives with "+url, s.bodies(), "12")
			closeAll(t, c)
		}
	})
}

func TestABadURLIsRefused(t *testing.T) {
	for url, want := range map[string]string{
		"memory://?quue=1":         `"quue" is unknown (it takes queue, queue_bytes)`,
		"memory://?queue=0":        `"queue" is not an integer`,
		"memory://?queue_bytes=1M": `"queue_bytes" is not an integer`,
		"memory://name/path":       "takes a name and parameters only",
		"memory://u:s3cret@name":   "takes a name and parameters only",
	} {
		_, err := brokers.Open(t.Context(), url)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v, wants %s", url, err, want)
		}
	}
}

func TestAChannelThatIsNoneIsRejected(t *testing.T) {
	c := memory.New()
	defer c.Close(t.Context())
	msgs := []brokers.Message{{Channel: "a"}, {Channel: "a.*"}, {Channel: "b"}, {Channel: "No"}}
	expect(t, "what is marked", marks(c.Publish(t.Context(), msgs)), "1 rejected", "3 rejected")
}

func TestMembersOfAGroupNameTheSameChannels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := memory.New()
		defer closeAll(t, c)
		first := subscribe(t, c, brokers.Subscription{Channels: []string{"a", "b"}, Group: "g"})
		subscribe(t, c, brokers.Subscription{Channels: []string{"b", "a"}, Group: "g"}).stop()
		other := brokers.Subscription{Channels: []string{"c"}, Group: "g"}
		if err := c.Subscribe(t.Context(), other, &sink{}); err == nil || !strings.Contains(err.Error(), "same channels") {
			t.Errorf("a member with other channels got %v", err)
		}
		first.stop()
		synctest.Wait()
		s := subscribe(t, c, other)
		publish(t, c, "c", "1")
		publish(t, c, "a", "2")
		expect(t, "what a group gets that has begun anew", s.bodies(), "1")
	})
}

func TestPublishCopiesABodyOnceForAllSubscriptions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := memory.New()
		defer closeAll(t, c)
		var sinks []*sink
		for range 3 {
			sinks = append(sinks, subscribe(t, c, brokers.Subscription{Channels: []string{"a", "b"}}))
		}
		body := []byte("shared by two channels")
		batch := []brokers.Message{{Channel: "a", Body: body}, {Channel: "none", Body: body}, {Channel: "b", Body: body}}
		if err := c.Publish(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		for _, s := range sinks {
			for _, d := range s.got {
				if &d.Body[0] != &sinks[0].got[0].Body[0] {
					t.Error("a body was copied twice")
				}
				if &d.Body[0] == &body[0] {
					t.Error("the caller's body was not copied")
				}
			}
		}
	})
}
