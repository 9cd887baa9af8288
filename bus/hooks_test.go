package bus_test

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/brokers/memory"
	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/schema"
)

func TestWhatIsNotAnEventIsCountedByItsReasonAndHandedToTheHook(t *testing.T) {
	var mu sync.Mutex
	bodies := map[brokers.Reason]string{}
	w := newWorld(t, bus.WithHooks(bus.Hooks{Malformed: func(m bus.Malformed) {
		mu.Lock()
		defer mu.Unlock()
		if m.Subscription != "s" || m.Channel != "x.all" {
			t.Errorf("the hook was told %+v", m)
		}
		bodies[m.Reason] = string(m.Body)
	}}))
	sub := w.subscribe(bus.Subscription{Name: "s", Channels: []string{"x.all"}, Handler: func(context.Context, schema.Event) error { return nil }})
	w.run()
	good := func(member string) string {
		return `{"event_id":"1","event_type":"a.b","timestamp":"2025-11-03T10:30:00Z","source":"s","priority":"low",` + member + `"data":{}}`
	}
	bad := map[brokers.Reason]string{
		"syntax":         "{",
		"utf8":           good("\"x\":\"\xff\","),
		"depth":          good(`"x":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + ","),
		"duplicate_key":  good(`"event_id":"2",`),
		"trailing_bytes": good("") + "x",
		"missing_field":  `{"event_id":"1"}`,
		"bad_field":      good(`"subject":7,`),
		"too_large":      good(`"x":"` + strings.Repeat("x", 2<<20) + `",`),
	}
	for _, body := range bad {
		w.inject("x.all", body)
		w.inject("x.all", good(""))
	}
	w.until("everything received", func() bool { return sub.Stats().Received == int64(2*len(bad)) && sub.Stats().InFlight == 0 })
	w.close()
	st := sub.Stats()
	if st.Handled != int64(len(bad)) {
		t.Errorf("%d good ones between were handled, want %d", st.Handled, len(bad))
	}
	for reason, body := range bad {
		if st.Malformed[reason] != 1 {
			t.Errorf("%s: counted %v", reason, st.Malformed)
		}
		if got := bodies[reason]; !strings.HasPrefix(body, got) || got == "" {
			t.Errorf("%s: the hook was given %.80q", reason, got)
		}
	}
}

func TestADropIsOfferedToTheHookAndASlowHookSlowsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var offered atomic.Int64
		reasons := sync.Map{}
		hooks := bus.Hooks{Dropped: func(d bus.Dropped) {
			<-release
			offered.Add(1)
			reasons.Store(d.Reason, true)
			if len(d.Message.Body) == 0 || d.Message.Channel == "" || d.Message.ID == "" {
				t.Errorf("the hook was given %+v", d)
			}
		}}
		cfg := bus.Config{Config: testRules, Publish: bus.PublishConfig{LaneConfig: bus.LaneConfig{Lanes: 1, MaxEvents: 10}}}
		b, err := bus.New(t.Context(), stalled{memory.New()}, cfg, bus.WithHooks(hooks), bus.WithLogger(slog.New(slog.DiscardHandler)))
		if err != nil {
			t.Fatal(err)
		}
		var slowest time.Duration
		for range 5000 {
			start := time.Now()
			if err := b.Emit(t.Context(), event("a.b", "user:1")); err != nil {
				t.Fatal(err)
			}
			slowest = max(slowest, time.Since(start))
		}
		if slowest > 0 {
			t.Errorf("an Emit took %v while the hook was blocked", slowest)
		}
		close(release)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		b.Close(ctx)
		st := b.Stats()
		if !st.Published.Balanced() || st.Published.Queued != 0 || st.Published.Accepted != 10_000 {
			t.Errorf("the ledger says %+v", st.Published)
		}
		if got := offered.Load() + st.HooksMissed; got != st.Published.DroppedTotal() {
			t.Errorf("%d drops, of which %d were offered and %d missed", st.Published.DroppedTotal(), offered.Load(), st.HooksMissed)
		}
		for _, reason := range []bus.DropReason{bus.DropLaneFull, bus.DropUnconfirmed} {
			if _, told := reasons.Load(reason); !told || st.Published.Dropped[reason] == 0 {
				t.Errorf("nothing was dropped as %s: %v", reason, st.Published.Dropped)
			}
		}
	})
}

// stalled is a broker that takes nothing until it is closed.
type stalled struct{ brokers.Conn }

func (s stalled) Publish(ctx context.Context, msgs []brokers.Message) error {
	<-ctx.Done()
	return brokers.FailAll(len(msgs), brokers.Unknown, ctx.Err())
}
