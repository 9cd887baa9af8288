package faults

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/internal/testbroker"
	"github.com/eventbus-go/eventbus/router"
	"github.com/eventbus-go/eventbus/schema"
)

func TestWhatASlowHandlerMissesIsCounted(t *testing.T) {
	const callers, pause = 2, 2 * time.Millisecond
	events := full(200_000, 60_000)
	redis := testbroker.RealRedis(t)
	rule := router.Rule{Match: []string{">"}, Channels: []string{"all"}}
	cfg := bus.Config{Config: router.Config{Prefix: "x", Rules: []router.Rule{rule}}}
	var mu sync.Mutex
	var counted, uncounted int64 // missed by the gaps that say how many, and gaps that do not
	w := newWorld(t, connect(t, redis.URL()), cfg, bus.Hooks{Gap: func(g bus.Gap) {
		mu.Lock()
		defer mu.Unlock()
		if g.Missed >= 0 {
			counted += g.Missed
		} else {
			uncounted++
		}
	}})
	slowly := func(context.Context, schema.Event) error {
		time.Sleep(pause)
		return nil
	}
	sub := w.subscribe(bus.Subscription{Name: "slow", Channels: []string{"x.all"}, Handler: slowly})
	w.run()
	heap := watchHeap()
	data := json.RawMessage(`{"text":"` + strings.Repeat("x", 1000) + `"}`)
	began := time.Now()
	var wg sync.WaitGroup
	for caller := range callers {
		wg.Go(func() {
			for i := caller; i < events; i += callers {
				e := schema.Event{Type: "load.test", Subject: fmt.Sprint("user:", i%1000), Data: data}
				if err := w.Emit(t.Context(), e); err != nil {
					t.Error(err)
					return
				}
				for i/callers%64 == 0 && w.Stats().Published.Queued > 8192 {
					time.Sleep(time.Millisecond) // it is the handler that is to be slow, not the broker
				}
			}
		})
	}
	wg.Wait()
	w.quietPublisher()
	rate := float64(events) / time.Since(began).Seconds()
	var s bus.SubscriptionStats
	l := w.Stats().Published
	accounted := func() bool {
		mu.Lock()
		defer mu.Unlock()
		s = sub.Stats()
		return s.Handled+counted >= l.Confirmed || uncounted > 0 && s.InFlight == 0
	}
	deadline := time.Now().Add(2 * time.Minute)
	for !accounted() && time.Now().Before(deadline) {
		time.Sleep(10 * time.Millisecond)
	}
	w.shut()
	most, left := heap.grown()

	s = sub.Stats()
	if lost := l.Confirmed - s.Handled - counted; lost < 0 || lost > 0 && uncounted == 0 {
		t.Errorf("%d confirmed, %d handled, %d missed in gaps that count, and no other gap", l.Confirmed, s.Handled, counted)
	}
	if s.Missed != counted || s.Gaps != w.hooks.gaps.Load() {
		t.Errorf("the subscription counts %d missed in %d gaps, the hook was told of %d in "+
			"%d", s.Missed, s.Gaps, counted, w.hooks.gaps.Load())
	}
	if l.Confirmed+l.DroppedTotal() != int64(events) || l.Confirmed < int64(events)/2 || counted == 0 {
		t.Errorf("the fault was not felt: %+v, %d missed", l, counted)
	}
	// The driver's buffer is 32 MiB, what the subscription holds 16 MiB, and the lanes' part here some 10 MiB; as much
	// again for the garbage collector.
	if most > 256<<20 || left > 32<<20 {
		t.Errorf("the heap grew by %s, and by %s for good", mib(most), mib(left))
	}
	figure(t, "slow handler", "%d events of 1 KB at %.0f/s to a handler of %v: %d confirmed = %d handled + %d missed "+
		"and counted in %d gaps; "+
		"heap +%s at most, +%s after", events, rate, pause, l.Confirmed, s.Handled, counted, s.Gaps, mib(most), mib(left))
}

// quietPublisher waits until nothing is queued.
func (w *world) quietPublisher() {
	w.t.Helper()
	eventually(w.t, 2*patience, "everything queued is sent", func() bool { return w.Stats().Published.Queued == 0 })
}
