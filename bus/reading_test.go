package bus_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/brokers/memory"
	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/schema"
)

// randomEvent has all that an event may have, in ways that differ between what a publisher holds and what is on the wire.
func randomEvent(t *testing.T, r *rand.Rand) schema.Event {
	t.Helper()
	pick := func(texts ...string) string { return texts[r.IntN(len(texts))] }
	zone := time.FixedZone("", r.IntN(24*3600)-12*3600)
	e := schema.Event{
		ID: schema.NewID(), Type: pick("a.x", "b.y", "c"), Source: pick("s", "é\"\\"),
		Time:     time.Unix(r.Int64N(1<<32), int64(r.IntN(3))*int64(r.IntN(1e9))).In(zone),
		Priority: schema.Priority(r.IntN(4) - 1),
		Subject:  pick("", "user:1", "a \"quoted\" one\n"), Actor: pick("", "user:2", "\u2028"), Resource: pick("", "r:3"),
		Data: json.RawMessage(pick("", "{}", `{ "n" : [1, 2.50] }`, `{"text":"é\u00e9\\"}`)),
	}
	if r.IntN(4) == 0 {
		e.Time = time.Now() // with its monotonic half
	}
	for i := range r.IntN(3) {
		if err := e.Metadata.Set(fmt.Sprint("k", i), []any{i, pick("x", "\xff")}); err != nil {
			t.Fatal(err)
		}
	}
	return e
}

// A keepsake keeps what its handler was given, and then changes its own copy in every way that is allowed.
type keepsake struct {
	mu  sync.Mutex
	got map[string][]schema.Event
}

func (k *keepsake) handle(_ context.Context, e schema.Event) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.got == nil {
		k.got = make(map[string][]schema.Event)
	}
	k.got[e.ID] = append(k.got[e.ID], e)
	e.Data = append(e.Data, "changed"...)
	e.Subject, e.Time = "changed", time.Time{}
	return e.Metadata.Set("changed", true)
}

func TestASubscriberInTheProcessGetsWhatDecodingWouldGiveIt(t *testing.T) {
	const events = 2_000
	w := newWorld(t)
	var one, other keepsake
	w.subscribe(bus.Subscription{Name: "one", Channels: []string{"x.all"}, Handler: one.handle})
	w.subscribe(bus.Subscription{Name: "other", Channels: []string{"x.>"}, Handler: other.handle})
	w.run()
	r, want := rand.New(rand.NewPCG(1, 2)), make(map[string]schema.Event)
	for range events {
		e := randomEvent(t, r)
		msgs, err := w.Pack(t.Context(), e)
		if err != nil {
			t.Fatal(err)
		}
		body := bytes.Clone(msgs[0].Body)
		if want[e.ID], err = schema.Decode(body, 0); err != nil {
			t.Fatal(err)
		}
		w.emit(e)
	}
	w.until("all are handled", func() bool {
		subs := w.Stats().Subscriptions
		return subs["one"].Handled == events && subs["other"].Handled == events
	})
	w.close()
	for id, e := range want {
		for _, k := range []*keepsake{&one, &other} {
			if got := k.got[id]; len(got) != 1 || !reflect.DeepEqual(got[0], e) {
				t.Fatalf("handled:\n%+v\ndecoded:\n%+v", got, e)
			}
		}
	}
}

// A scrambler spoils every body on its way, so that nobody can decode one. As a brokers.Local it must not; here it shows who
// decodes.
type scrambler struct{ brokers.Conn }

func (scrambler) PassesReadings() {}

func (s scrambler) Publish(ctx context.Context, msgs []brokers.Message) error {
	spoilt := make([]brokers.Message, len(msgs))
	for i, m := range msgs {
		m.Body = bytes.Repeat([]byte("x"), len(m.Body))
		spoilt[i] = m
	}
	return s.Conn.Publish(ctx, spoilt)
}

type idleTracer struct{}

func (idleTracer) Sending(context.Context, *schema.Event, bus.Sending) ([]brokers.Header, func(error)) {
	return nil, nil
}

func TestOnlyWhatThisProcessHasEncodedIsNotDecoded(t *testing.T) {
	emit := func(b *bus.Bus, e schema.Event) error { return b.Emit(t.Context(), e) }
	send := func(b *bus.Bus, e schema.Event) error {
		msgs, err := b.Pack(t.Context(), e)
		if err != nil {
			return err
		}
		return b.Send(t.Context(), msgs)
	}
	foreign, err := schema.Decode([]byte(`{"event_id":"1","event_type":"a.x","timestamp":"2026-01-01T00:00:00Z","source":"s",
		"priority":"low","data":{},"signature":"only decoding tells"}`), 0)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		conn    brokers.Conn
		opts    []bus.Option
		publish func(*bus.Bus, schema.Event) error
		event   schema.Event
		handled int64
	}{
		"Emit":              {scrambler{memory.New()}, nil, emit, event("a.x", "s"), 1},
		"Send":              {scrambler{memory.New()}, nil, send, event("a.x", "s"), 0},
		"a decoded event":   {scrambler{memory.New()}, nil, emit, foreign, 0},
		"beside a tracer":   {scrambler{memory.New()}, []bus.Option{bus.WithTracer(idleTracer{})}, emit, event("a.x", "s"), 0},
		"through a wrapper": {struct{ brokers.Conn }{scrambler{memory.New()}}, nil, emit, event("a.x", "s"), 0},
		"through a wrapper, beside a Local": {
			struct{ brokers.Conn }{scrambler{memory.New()}}, []bus.Option{bus.WithBroker("local", memory.New())}, emit, event("a.x", "s"), 0,
		},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := bus.New(t.Context(), c.conn, bus.Config{Config: testRules}, c.opts...)
			if err != nil {
				t.Fatal(err)
			}
			w := &world{t: t, Bus: b, conn: c.conn}
			w.subscribe(bus.Subscription{
				Name: "s", Channels: []string{"x.all"}, Handler: func(context.Context, schema.Event) error { return nil },
			})
			w.run()
			if err := c.publish(b, c.event); err != nil {
				t.Fatal(err)
			}
			w.until("it is handled, or not", func() bool {
				st := w.Stats().Subscriptions["s"]
				return st.Received == 1 && st.InFlight == 0
			})
			w.close()
			if st := w.Stats().Subscriptions["s"]; st.Handled != c.handled || total(st.Malformed) != 1-c.handled {
				t.Errorf("%d handled, %v malformed", st.Handled, st.Malformed)
			}
		})
	}
}
