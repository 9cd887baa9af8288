package bus_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/brokers/memory"
	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/schema"
)

func TestRulesSendTheirChannelsToABrokerByName(t *testing.T) {
	main, audit := newMoody(false), newMoody(false)
	w := newPair(t, main, audit, bus.Config{})
	events := []schema.Event{{ID: "1", Type: "a.x"}, {ID: "2", Type: "b.x"}, {ID: "3", Type: "c.x"}, {ID: "4", Type: "d.x"}}
	if err := w.publish(events...); err != nil {
		t.Fatal(err)
	}
	got := slices.Sorted(slices.Values(main.taken()))
	if !slices.Equal(got, []string{"1@x.a", "3@x.c"}) {
		t.Errorf("main took %v", got)
	}
	got = slices.Sorted(slices.Values(audit.taken()))
	if !slices.Equal(got, []string{"2@x.b", "3@x.c", "4@x.d"}) {
		t.Errorf("audit took %v", got)
	}
	w.close()
	st := w.Stats()
	if st.Brokers["main"].Published.Confirmed != 2 || st.Brokers["audit"].Published.Confirmed != 3 || st.Published.Accepted != 5 {
		t.Errorf("%+v", st)
	}
}

func TestOneBrokersOutageNeitherSlowsNorFillsTheOther(t *testing.T) {
	for _, how := range []mood{down, frozen} {
		synctest.Test(t, func(t *testing.T) {
			main, audit := newMoody(false), newMoody(false)
			var cfg bus.Config
			cfg.Publish.MaxEvents, cfg.Publish.Lanes = 100, 1
			w := newPair(t, main, audit, cfg)
			audit.feel(how)
			began := time.Now()
			for range 200 {
				w.emit(event("b.x", "k"))
				w.emit(event("a.x", "k"))
				synctest.Wait()
				if took := time.Since(began); took > 0 {
					t.Fatalf("Emit waited, or main did, for %v", took)
				}
				if q := w.Stats().Brokers["main"].Published.Queued; q > 0 {
					t.Fatalf("%d messages to main are queued", q)
				}
			}
			st := w.Stats()
			if got := st.Brokers["main"].Published; got.Confirmed != 200 || !got.Balanced() {
				t.Errorf("main has %+v", got)
			}
			got := st.Brokers["audit"].Published
			if got.Dropped[bus.DropLaneFull] < 90 || got.Queued < 90 || !got.Balanced() || !st.Published.Balanced() {
				t.Errorf("audit has %+v", got)
			}
			audit.feel(well)
			w.close()
		})
	}
}

func TestLanesOfABrokerAreShapedByItsOwnSettings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		main, audit := newMoody(false), newMoody(false)
		var cfg bus.Config
		cfg.Publish.MaxEvents, cfg.Publish.Lanes = 20, 1
		cfg.Brokers = map[string]bus.BrokerConfig{"audit": {Publish: bus.LaneConfig{MaxEvents: 5}}}
		w := newPair(t, main, audit, cfg)
		main.feel(down)
		audit.feel(down)
		for range 50 {
			w.emit(event("a.x", "k"), event("b.x", "k"), event("d.x", "k"))
		}
		st := w.Stats().Brokers
		// audit has lanes for what has a fallback, and lanes for what has none.
		if m, a := st["main"].Published.Queued, st["audit"].Published.Queued; m != 20 || a != 10 {
			t.Errorf("%d and %d are queued", m, a)
		}
		main.feel(well)
		audit.feel(well)
		w.close()
	})
}

// The lane of audit is full when Publish comes: what goes to main must not wait for it.
func TestPublishSendsToOneBrokerWhileItWaitsForRoomAtAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const timeout = 3 * time.Second
		main, audit := newMoody(false), newMoody(false)
		var cfg bus.Config
		cfg.Publish.MaxEvents, cfg.Publish.Lanes, cfg.Publish.Timeout = 1, 1, timeout
		w := newPair(t, main, audit, cfg)
		audit.feel(down)
		w.emit(event("b.x", "k"))
		began := time.Now()
		failed := make(chan error, 1)
		go func() {
			failed <- w.Publish(t.Context(), schema.Event{ID: "1", Type: "b.x"}, schema.Event{ID: "2", Type: "d.x"},
				schema.Event{ID: "3", Type: "a.x"}, schema.Event{ID: "4", Type: "c.x"})
		}()
		synctest.Wait()
		if got, took := main.taken(), time.Since(began); len(got) != 2 || took > 0 {
			t.Errorf("main had %v after %v", got, took)
		}
		err := <-failed
		if took := time.Since(began); took != timeout {
			t.Errorf("it returned after %v", took)
		}
		var pe *bus.PublishError
		if !errors.As(err, &pe) {
			t.Fatalf("got %v", err)
		}
		var got []string
		for _, o := range pe.Outcomes {
			got = append(got, fmt.Sprintf("%s %s %s %v", o.EventID, o.Broker, o.Channel, o.State))
		}
		got[1] = strings.Replace(got[1], "unknown", "not_sent", 1) // the driver may be at an attempt when the time is over
		want := []string{
			"1 audit x.b not_sent", "2 audit x.d not_sent", "3 main x.a confirmed", "4 main x.c confirmed", "4 audit x.c not_sent",
		}
		if !slices.Equal(got, want) {
			t.Errorf("got %q\nwant %q", got, want)
		}
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the error does not say that the time is over: %v", err)
		}
		audit.feel(well)
		w.close()
		if got := audit.taken(); len(got) != 1 {
			t.Errorf("what Publish gave up was sent later: %v", got)
		}
	})
}

func TestASubscriptionReadsEveryBrokerOfItsChannelsAndHandlesAnEventOnce(t *testing.T) {
	main, audit := newMoody(false), newMoody(false)
	w := newPair(t, main, audit, bus.Config{})
	var mu sync.Mutex
	got := make(map[string][]string)
	sub := func(s bus.Subscription) {
		s.Handler = func(_ context.Context, e schema.Event) error {
			mu.Lock()
			defer mu.Unlock()
			got[s.Name] = append(got[s.Name], e.ID)
			return nil
		}
		w.subscribe(s)
	}
	sub(bus.Subscription{Name: "both", Channels: []string{"x.c"}})
	sub(bus.Subscription{Name: "audit alone", Channels: []string{"x.c"}, Brokers: []string{"audit"}})
	sub(bus.Subscription{Name: "all", Channels: []string{"x.*"}})
	sub(bus.Subscription{Name: "by type", Events: []string{"d.*"}})
	sub(bus.Subscription{Name: "foreign", Channels: []string{"y.z"}})
	w.run()
	if err := w.publish(schema.Event{ID: "1", Type: "a.x"}, schema.Event{ID: "2", Type: "b.x"}, schema.Event{ID: "3", Type: "c.x"},
		schema.Event{ID: "4", Type: "d.x"}); err != nil {
		t.Fatal(err)
	}
	w.until("everything is handled", func() bool {
		st := w.Stats().Subscriptions
		return st["both"].Received == 2 && st["both"].InFlight == 0 && st["all"].Received == 5 && st["all"].InFlight == 0 &&
			st["audit alone"].Handled == 1 && st["by type"].Handled == 1
	})
	w.close()
	st := w.Stats().Subscriptions
	if st["both"].Duplicate != 1 || st["all"].Duplicate != 1 || st["foreign"].Received != 0 {
		t.Errorf("%+v", st)
	}
	slices.Sort(got["all"])
	if fmt.Sprint(got["both"], got["audit alone"], got["all"], got["by type"]) != "[3] [3] [1 2 3 4] [4]" {
		t.Errorf("handled %v", got)
	}
}

// A broker that takes no settlements: what is handled is acked at the other one nevertheless.
func TestABrokerThatTakesNoSettlementsHoldsUpNoOther(t *testing.T) {
	acked := make(chan struct{}, 10)
	w := newPair(t, settling{memory.New(), func(ctx context.Context, n int) { <-ctx.Done() }},
		settling{memory.New(), func(_ context.Context, n int) {
			for range n {
				acked <- struct{}{}
			}
		}}, bus.Config{})
	w.subscribe(bus.Subscription{
		Name: "all", Channels: []string{"x.a", "x.b"}, Concurrency: 1, Handler: func(context.Context, schema.Event) error { return nil },
	})
	w.run()
	for i := range 5 {
		if err := w.publish(schema.Event{ID: fmt.Sprint("a", i), Type: "a.x"}, schema.Event{ID: fmt.Sprint("b", i), Type: "b.x"}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 5 {
		select {
		case <-acked:
		case <-time.After(patience):
			t.Fatalf("%d of 5 were acked", i)
		}
	}
}

// settling is a broker whose settlements something is done with first.
type settling struct {
	brokers.Conn
	before func(ctx context.Context, n int)
}

func (s settling) Subscribe(ctx context.Context, sub brokers.Subscription, sink brokers.Sink) error {
	return s.Conn.Subscribe(ctx, sub, settlingSink{sink, s.before})
}

type settlingSink struct {
	brokers.Sink
	before func(ctx context.Context, n int)
}

func (s settlingSink) Deliver(batch []brokers.Delivery) {
	for i := range batch {
		batch[i].Settler = &settlingSettler{batch[i].Settler, s.before}
	}
	s.Sink.Deliver(batch)
}

type settlingSettler struct {
	brokers.Settler
	before func(ctx context.Context, n int)
}

func (s *settlingSettler) Settle(ctx context.Context, what []brokers.Settlement) error {
	s.before(ctx, len(what))
	return s.Settler.Settle(ctx, what)
}

func (hopeless) Retryable(error) bool   { return false }
func (deaf) Ping(context.Context) error { return nil }

func TestAMessageGoesToTheBrokerThatItNames(t *testing.T) {
	main, audit := newMoody(false), newMoody(false)
	w := newPair(t, main, audit, bus.Config{})
	msgs, err := w.Pack(t.Context(), schema.Event{ID: "3", Type: "c.x"}, schema.Event{ID: "4", Type: "d.x"})
	if err != nil || len(msgs) != 3 || msgs[0].Broker != "main" || msgs[1].Broker != "audit" || msgs[2].Broker != "audit" {
		t.Fatalf("packed %+v, %v", msgs, err)
	}
	byChannel, unruly := msgs[2], msgs[0]
	byChannel.Broker, byChannel.ID = "", "5"
	unruly.Broker, unruly.Channel, unruly.ID = "audit", "y.z", "6"
	elsewhere := unruly
	elsewhere.Broker, elsewhere.ID = "", "7"
	if err := w.Send(t.Context(), append(msgs, byChannel, unruly, elsewhere)); err != nil {
		t.Fatal(err)
	}
	got := [][]string{slices.Sorted(slices.Values(main.taken())), slices.Sorted(slices.Values(audit.taken()))}
	if fmt.Sprint(got[0], got[1]) != "[3@x.c 7@y.z] [3@x.c 4@x.d 5@x.d 6@y.z]" {
		t.Errorf("main took %v, audit %v", main.taken(), got)
	}
	ambiguous, unknown := msgs[0], msgs[0]
	ambiguous.Broker, unknown.Broker = "", "nope"
	for _, m := range []brokers.Message{ambiguous, unknown} {
		err := w.Send(t.Context(), []brokers.Message{m})
		if ee := new(bus.EventError); !errors.As(err, &ee) || !strings.Contains(err.Error(), "main, audit") {
			t.Errorf("broker %q: %v", m.Broker, err)
		}
	}
}

func TestHealthTellsBrokersAndSubscriptionsApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		main, audit := newMoody(false), newMoody(false)
		w := newPair(t, main, audit, bus.Config{})
		w.subscribe(bus.Subscription{Name: "s", Channels: []string{"x.c"}, Handler: func(context.Context, schema.Event) error { return nil }})
		w.run()
		if err := w.Health(t.Context()); err != nil {
			t.Errorf("all is well: %v", err)
		}
		for name, m := range map[string]*moody{"main": main, "audit": audit} {
			m.feel(frozen)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			h := w.Check(ctx)
			cancel()
			m.feel(well)
			for asked, err := range h.Brokers {
				var be *bus.BrokerError
				if asked != name && err != nil || asked == name && (!errors.As(err, &be) || be.Broker != name) {
					t.Errorf("with %s frozen, %s has %v", name, asked, err)
				}
			}
			if h.Err() == nil {
				t.Error("all is well")
			}
		}
		h := w.Check(t.Context())
		if s := h.Subscriptions["s"]; len(s) != 2 || s["main"] != nil || s["audit"] != nil {
			t.Errorf("%+v", h.Subscriptions)
		}
	})
}

func TestPromisesAreCheckedOnEveryBrokerThatASubscriptionReads(t *testing.T) {
	w := newPair(t, memory.New(), groupless{memory.New()}, bus.Config{})
	handler := func(context.Context, schema.Event) error { return nil }
	_, err := w.Subscribe(bus.Subscription{Name: "billing", Channels: []string{"x.c"}, Group: "g", Handler: handler})
	var ce *brokers.CapabilityError
	if !errors.As(err, &ce) || ce.Name != "audit" || !strings.Contains(err.Error(), "broker audit") {
		t.Errorf("got %v", err)
	}
	w.subscribe(bus.Subscription{Name: "main alone", Channels: []string{"x.c"}, Brokers: []string{"main"}, Group: "g", Handler: handler})
	_, err = w.Subscribe(bus.Subscription{Name: "nowhere", Channels: []string{"x.c"}, Brokers: []string{"nope"}, Handler: handler})
	if err == nil || !strings.Contains(err.Error(), "main, audit") {
		t.Errorf("got %v", err)
	}
}

type groupless struct{ brokers.Conn }

func (g groupless) Capabilities() brokers.Capabilities {
	c := g.Conn.Capabilities()
	c.Groups = false
	return c
}

func (pooling) Lag(_ context.Context, _ string, channels []string) (lags []brokers.Lag, err error) {
	for _, ch := range channels {
		lags = append(lags, brokers.Lag{Channel: ch, Waiting: 1, Pending: -1})
	}
	return append(lags, brokers.Lag{Channel: "x.*", Waiting: 7, Pending: -1}), nil
}
