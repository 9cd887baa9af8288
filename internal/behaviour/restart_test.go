package behaviour

import (
	"context"
	"errors"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/router"
	"github.com/eventbus-go/eventbus/router/middleware"
	"github.com/eventbus-go/eventbus/schema"
	"github.com/eventbus-go/eventbus/store/dedup"
)

// countsOn is what a broker does that keeps the events of a group, and counts their deliveries.
func countsOn(caps brokers.Capabilities) bool { return caps.Durable && caps.Attempts }

// restarted has an event fail in one process, and again in the next one.
func restarted(p *place) func(t *testing.T) {
	return func(t *testing.T) {
		var last atomic.Int64 // the number of the last attempt
		fails := func(ctx context.Context, _ schema.Event) error { last.Store(int64(router.Attempt(ctx))); return errNo }
		b := p.openOwn(t)
		sub := p.member(t, b, fails)
		if err := b.Emit(t.Context(), p.event("1")); err != nil {
			t.Fatal(err)
		}
		eventually(t, "it has failed", func() bool { return sub.Stats().Retries > 0 })
		p.end(t, b.Close)
		before := last.Load()
		if st := sub.Stats(); st.InFlight != 0 || st.Failed+st.DeadLettered != 0 || !st.Balanced() {
			t.Errorf("after the close the books say %+v", st)
		}
		if !p.caps.Durable {
			return // it is gone with its process
		}
		began := make(chan int64, 1)
		p.member(t, p.open(t), func(ctx context.Context, e schema.Event) error {
			select {
			case began <- int64(router.Attempt(ctx)):
			default:
			}
			return fails(ctx, e)
		})
		select {
		case next := <-began:
			if countsOn(p.caps) && next <= before || !countsOn(p.caps) && next != 1 {
				t.Errorf("attempt %d was the last before the restart, and %d is the first after it", before, next)
			}
		case <-time.After(patience):
			t.Error("it does not come again")
		}
	}
}

func (p *place) member(t *testing.T, b *bus.Bus, h bus.Handler) *bus.Sub {
	t.Helper()
	s := p.subscription("s", h)
	s.Retry = fixed(100, 200*time.Millisecond)
	sub, err := b.Subscribe(s)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := errors.Join(err, b.Start(ctx)); err != nil {
		t.Fatal(err)
	}
	return sub
}

// An awayDedup is a store that can be away.
type awayDedup struct {
	*dedup.Memory
	away atomic.Bool
}

func (s *awayDedup) Reserve(ctx context.Context, scope, id string, token uint64, lease time.Duration) (dedup.State, error) {
	if s.away.Load() {
		return dedup.Fresh, errors.New("the store is away")
	}
	return s.Memory.Reserve(ctx, scope, id, token, lease)
}

// dedupAway has the memory of what was handled away, for a subscription that waits and one that handles nevertheless.
func dedupAway(p *place) func(t *testing.T) {
	const events = 5
	store := &awayDedup{Memory: dedup.NewMemory(0)}
	store.away.Store(true)
	begin := func(name string, when middleware.DedupWhenDown) (*diary, *bus.Sub) {
		d := &diary{}
		s := p.subscription(name, d.handle)
		s.Dedup = bus.DedupPolicy{Store: store, Scope: p.name(name), WhenDown: when}
		s.Retry = bus.RetryPolicy{Attempts: 1}
		return d, p.subscribe(s)
	}
	waiting, waits := begin("waits", middleware.DedupWait)
	handling, handles := begin("handles", middleware.DedupHandle)
	return func(t *testing.T) {
		for i := range events {
			p.emit(t, p.event(strconv.Itoa(i)))
		}
		eventually(t, "the one has handled all, and the other one has asked", func() bool {
			return handling.len() == events && handles.Stats().DedupErrors >= events && waits.Stats().DedupErrors > 0
		})
		if n := waiting.len(); n != 0 {
			t.Errorf("%d were handled that were to wait", n)
		}
		store.away.Store(false)
		eventually(t, "the other one has handled all, too", func() bool { return waits.Stats().Handled == events })
		for _, st := range []bus.SubscriptionStats{waits.Stats(), handles.Stats()} {
			if st.Failed+st.DeadLettered+st.Retries+st.DroppedTotal() != 0 {
				t.Errorf("the books say %+v", st)
			}
		}
	}
}
