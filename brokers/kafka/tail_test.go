package kafka_test

import (
	"context"
	"slices"
	"testing"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/internal/testbroker"
)

// A subscription without a group gets news only, but all of it: a topic that appears later is read from its beginning.
func TestWithoutAGroupWhatIsOlderIsNotDelivered(t *testing.T) {
	server := testbroker.StartKafka(t, testbroker.KafkaOptions{InProcess: true})
	c, other := openURL(t, server.URL()+quick), openURL(t, server.URL()+quick)
	message := func(channel, id string) brokers.Message {
		return brokers.Message{ID: id, Channel: channel, Key: "k", Body: []byte("{}")}
	}
	if err := publish(t.Context(), c, message("news.a", "older")); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r := &recorder{ready: make(chan struct{})}
	go func() { _ = c.Subscribe(ctx, brokers.Subscription{Channels: []string{"news.*"}}, r) }()
	<-r.ready
	for _, m := range []brokers.Message{message("news.a", "newer"), message("news.b", "of a new topic")} {
		if err := publish(t.Context(), other, m); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "both arrive", func() bool { return len(r.ids()) >= 2 })
	got := r.ids()
	slices.Sort(got)
	if !slices.Equal(got, []string{"newer", "of a new topic"}) {
		t.Errorf("%q arrived", got)
	}
}
