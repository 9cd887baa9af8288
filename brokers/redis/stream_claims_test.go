package redis

import (
	"context"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/internal/handover"
	"github.com/eventbus-go/eventbus/internal/testbroker"
)

// Suppose an entry is given back while its lease is being prolonged: executed the other way round, nobody would get it for a lease,
// and a member that has got it would lose it.
func TestWhatIsGivenBackIsNotProlonged(t *testing.T) {
	server := testbroker.RealRedis(t)
	c := openedStream(t, "redis+stream://"+server.Addr()+"?prefix=claims:")
	patterns, err := readChannels("s", []string{"a"})
	if err != nil {
		t.Fatal(err)
	}
	m := c.newMember(brokers.Subscription{Name: "s", Group: "g", Channels: []string{"a"}}, patterns, handover.New())
	m.client = c.pub
	if err := m.attach(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.Publish(t.Context(), []brokers.Message{{ID: "1", Channel: "a", Body: []byte("x")}}); err != nil {
		t.Fatal(err)
	}
	src := m.all()[0]
	read := server.Client().XReadGroup(t.Context(), &goredis.XReadGroupArgs{
		Group: "g", Consumer: m.consumer, Streams: []string{src.key, ">"},
	}).Val()
	id, _ := readID(read[0].Messages[0].ID)
	l := &lease{member: m, source: src, id: id, attempt: 1}
	src.held[id] = l

	slow := &slowPipelines{reached: make(chan struct{}, 1), goOn: make(chan struct{})}
	c.pub.AddHook(slow)
	s := &steward{m: m}
	prolonged, given := make(chan error, 1), make(chan error, 1)
	go func() { prolonged <- s.prolong(t.Context()) }()
	await1(t, "the prolonging", slow.reached)
	go func() { given <- m.giveBack(t.Context(), c.pub, src, []*lease{l}, 0) }()
	select {
	case err := <-given: // too early
		given <- err
	case <-time.After(100 * time.Millisecond):
	}
	close(slow.goOn)
	if err := await1(t, "the prolonging", prolonged); err != nil {
		t.Error(err)
	}
	if err := await1(t, "giving back", given); err != nil {
		t.Error(err)
	}
	idle := func() time.Duration {
		return server.Client().XPendingExt(t.Context(), &goredis.XPendingExtArgs{
			Stream: src.key, Group: "g", Start: "-", End: "+", Count: 1,
		}).Val()[0].Idle
	}
	if got := idle(); got < longAgo {
		t.Errorf("it is idle for %v: its lease was prolonged after it was given back", got)
	}
	if err := s.prolong(t.Context()); err != nil {
		t.Error(err)
	}
	if got := idle(); got < longAgo {
		t.Errorf("it is idle for %v: its lease was prolonged although it is given back", got)
	}
}

// slowPipelines says when a pipeline is to be sent, and waits.
type slowPipelines struct{ reached, goOn chan struct{} }

func (*slowPipelines) DialHook(next goredis.DialHook) goredis.DialHook          { return next }
func (*slowPipelines) ProcessHook(next goredis.ProcessHook) goredis.ProcessHook { return next }

func (h *slowPipelines) ProcessPipelineHook(next goredis.ProcessPipelineHook) goredis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []goredis.Cmder) error {
		select {
		case h.reached <- struct{}{}:
		default:
		}
		<-h.goOn
		return next(ctx, cmds)
	}
}
