package kafka

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
)

// panicked fails unless err is a panic that may be tried again.
func panicked(t *testing.T, err error) {
	t.Helper()
	if p := new(brokers.PanicError); !errors.As(err, &p) || !retryable(err) {
		t.Errorf("the error is %v", err)
	}
}

// A conn without its client panics wherever it asks for something.
func withoutClient(t *testing.T) *conn {
	t.Helper()
	opened, err := brokers.Open(t.Context(), "kafka://127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	c, client := opened.(*conn), opened.(*conn).client
	c.client = nil
	t.Cleanup(func() {
		c.client = client
		_ = c.Close(context.Background())
	})
	return c
}

// Suppose the client or we ourselves panic on a goroutine of the driver's: the process has other subscriptions.
func TestAPanicOfAKeeperEndsItsSubscriptionAlone(t *testing.T) {
	for _, group := range []string{"", "g"} {
		c := withoutClient(t)
		panicked(t, c.Subscribe(t.Context(), brokers.Subscription{Group: group, Channels: []string{"a.b"}}, nil))
	}
}

func TestAPanicOfAFetcherEndsItsSubscription(t *testing.T) {
	s, _ := given("a")
	told := make(chan error, 1)
	s.fail = func(err error) { told <- err }
	s.order = append(s.order, nil) // a partition that nothing can be asked of
	f := s.startFetching(t.Context())
	defer f.stop()
	f.run(0)
	select {
	case err := <-told:
		panicked(t, err)
	case <-time.After(30 * time.Second):
		t.Fatal("nobody is told")
	}
}

func TestAPanicOfARequestFailsItsMessages(t *testing.T) {
	p := &publication{c: withoutClient(t), msgs: make([]brokers.Message, 2)}
	r := &request{p: p, batches: []batch{{list: &batchList{tp: tp{"a", 0}, rest: []int32{1}}, which: []int32{0}}}}
	r.sendOrFail(t.Context())
	if len(p.failed) != 2 || p.failed[0].Outcome != brokers.NotSent || p.failed[1].Outcome != brokers.NotSent {
		t.Fatalf("%+v", p.failed)
	}
	panicked(t, p.failed[0].Err)
}
