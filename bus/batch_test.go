package bus

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/schema"
)

// A sizedConn says which batches it wants, and notes which it gets.
type sizedConn struct {
	scriptedConn
	size brokers.Batch
	got  []int
}

func (c *sizedConn) Batch() brokers.Batch { return c.size }

func (c *sizedConn) Publish(_ context.Context, msgs []brokers.Message) error {
	c.got = append(c.got, len(msgs))
	return nil
}

func TestBatchesHaveTheSizeThatTheDriverAsksFor(t *testing.T) {
	for _, c := range []struct {
		size brokers.Batch
		want []int
	}{
		{brokers.Batch{Messages: 4, Bytes: 1 << 20}, []int{4, 4, 2}},
		{brokers.Batch{Messages: 100, Bytes: 12}, []int{3, 3, 3, 1}},
		{brokers.Batch{}, []int{1, 1, 1, 1, 1, 1, 1, 1, 1, 1}},
		{brokers.Batch{Messages: 1 << 30, Bytes: 1 << 40}, []int{10}},
	} {
		conn := &sizedConn{size: c.size}
		to := newLink(conn, brokerPlan{}, "test", false)
		l := newLane(LaneConfig{MaxEvents: 100, MaxBytes: 1000, SendTimeout: time.Second}, to.batch, nil)
		for i := range 10 {
			p := packed{id: fmt.Sprint(i), typ: "t", key: "k", channels: []string{"a"}, priority: schema.Normal}
			if err := l.emit(t.Context(), &p, []byte("body")); err != nil {
				t.Fatal(err)
			}
		}
		l.close()
		(&sender{lane: l, conn: conn, panics: func(string, any) {}, abandon: t.Context()}).run()
		if !slices.Equal(conn.got, c.want) {
			t.Errorf("%+v: batches of %v messages, want %v", c.size, conn.got, c.want)
		}
	}
}

func TestADriverThatSaysNothingGetsTheUsualBatches(t *testing.T) {
	if got := newLink(&scriptedConn{}, brokerPlan{}, "test", false).batch; got != defaultBatch {
		t.Errorf("%+v", got)
	}
	huge := newLink(&sizedConn{size: brokers.Batch{Messages: 1 << 30, Bytes: 1 << 40}}, brokerPlan{}, "test", false).batch
	if huge != maxBatch {
		t.Errorf("%+v", huge)
	}
}
