package kafka_test

import (
	"context"
	"testing"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/internal/testbroker"
)

// Suppose a partition went to a member that joins while its last messages are being handled: they would be handled twice, and the
// later ones of a key before the earlier ones are done.
func TestAPartitionIsHandedOverOnceItsHandlersAreDone(t *testing.T) {
	server := testbroker.StartKafka(t, testbroker.KafkaOptions{InProcess: true})
	const n = 12
	c, joining := openURL(t, server.URL()+quick), openURL(t, server.URL()+quick)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 2)
	spec := brokers.Subscription{Group: "handover", Channels: []string{"handover.a"}}
	all := func(brokers.Delivery) bool { return true }
	first, second := &recorder{ready: make(chan struct{}), keep: all}, &recorder{ready: make(chan struct{})}
	go func() { ended <- c.Subscribe(ctx, spec, first) }()
	if err := publish(t.Context(), c, numbered("handover.a", n, n)...); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the first member has all", func() bool { return first.distinct() == n })
	go func() { ended <- joining.Subscribe(ctx, spec, second) }()
	select { // a generation that did not wait would have begun by now
	case <-second.ready:
		t.Error("the second member has partitions whose messages are being handled")
	case <-time.After(time.Second):
	}
	first.mu.Lock()
	held := first.got
	first.mu.Unlock()
	for _, d := range held {
		if err := d.Settler.Settle(t.Context(), []brokers.Settlement{{Token: d.Token}}); err != nil {
			t.Errorf("Settle of %s: %v", d.ID, err)
		}
	}
	eventually(t, "the second member is in", func() bool { return isDone(second.ready) })
	if got := second.ids(); len(got) > 0 {
		t.Errorf("the second member got %q, which the first one was handling", got)
	}
	cancel()
	for range 2 {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}
