package memory_test

import (
	"context"
	"testing"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/brokers/memory"
)

// hoarder settles nothing until it is asked to.
type hoarder struct {
	ready chan struct{}
	got   chan brokers.Delivery
}

func (h *hoarder) Ready()          { close(h.ready) }
func (h *hoarder) Gap(brokers.Gap) {}
func (h *hoarder) Deliver(batch []brokers.Delivery) {
	for _, d := range batch {
		h.got <- d
	}
}

func TestLagCountsWhatAGroupHasYetToHandle(t *testing.T) {
	conn := memory.New()
	defer func() {
		ended, end := context.WithCancel(context.Background())
		end()
		_ = conn.Close(ended) // what is hoarded is never settled
	}()
	lag := func(group string, channels ...string) []brokers.Lag {
		t.Helper()
		lags, err := conn.(brokers.Lagger).Lag(t.Context(), group, channels)
		if err != nil {
			t.Fatal(err)
		}
		return lags
	}
	if got := lag("billing", "a.x"); got != nil {
		t.Errorf("a group that does not exist has the lag %v", got)
	}
	provision := brokers.Provision{
		Channels: []string{"a.x"}, Groups: []brokers.GroupProvision{{Group: "billing", Channels: []string{"a.*"}}},
	}
	for range 2 { // the second one changes nothing
		if err := conn.(brokers.Provisioner).Provision(t.Context(), provision); err != nil {
			t.Fatal(err)
		}
	}
	first := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	var msgs []brokers.Message
	for i, ch := range []string{"a.x", "a.y", "a.x", "b.x", "a.x"} {
		msgs = append(msgs, brokers.Message{ID: "1", Channel: ch, Key: "k", Time: first.Add(time.Duration(i) * time.Second)})
	}
	if err := conn.Publish(t.Context(), msgs); err != nil {
		t.Fatal(err)
	}
	same := func(got []brokers.Lag, want ...brokers.Lag) {
		t.Helper()
		if len(got) != len(want) {
			t.Fatalf("got %+v, want %+v", got, want)
		}
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("got %+v, want %+v", got[i], want[i])
			}
		}
	}
	same(lag("billing", "a.x", "b.x", "a.y", "a.z", "a.x"),
		brokers.Lag{Channel: "a.x", Waiting: 3, Oldest: first},
		brokers.Lag{Channel: "a.y", Waiting: 1, Oldest: first.Add(time.Second)},
		brokers.Lag{Channel: "a.z"})

	h := &hoarder{ready: make(chan struct{}), got: make(chan brokers.Delivery, 10)}
	go conn.Subscribe(t.Context(), brokers.Subscription{Channels: []string{"a.*"}, Group: "billing", Prefetch: 2}, h)
	<-h.ready
	d := <-h.got
	<-h.got
	same(lag("billing", "a.x", "a.y"),
		brokers.Lag{Channel: "a.x", Waiting: 2, Pending: 1, Oldest: first},
		brokers.Lag{Channel: "a.y", Waiting: 0, Pending: 1, Oldest: first.Add(time.Second)})
	err := d.Settler.Settle(t.Context(), []brokers.Settlement{{Token: d.Token, Verdict: brokers.Redeliver, After: time.Hour}})
	if err != nil {
		t.Fatal(err)
	}
	<-h.got
	same(lag("billing", "a.x"), brokers.Lag{Channel: "a.x", Waiting: 2, Pending: 1, Oldest: first})
}
