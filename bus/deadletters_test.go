package bus_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
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
	"github.com/eventbus-go/eventbus/store/deadletter"
)

// A moodyStore is a memory store that can be away.
type moodyStore struct {
	*deadletter.Memory
	away atomic.Bool

	mu    sync.Mutex
	tries map[string]int // of Put, by event
}

func newMoodyStore() *moodyStore {
	return &moodyStore{Memory: deadletter.NewMemory(0, 0), tries: make(map[string]int)}
}

func (s *moodyStore) Put(ctx context.Context, letters ...deadletter.Letter) error {
	s.mu.Lock()
	for _, l := range letters {
		s.tries[l.EventID]++
	}
	s.mu.Unlock()
	if s.away.Load() {
		return errors.New("the store is away")
	}
	return s.Memory.Put(ctx, letters...)
}

func (s *moodyStore) triesOf(event string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tries[event]
}

func lettersOf(t *testing.T, s deadletter.Store) (out []deadletter.Letter) {
	t.Helper()
	for l, err := range deadletter.List(t.Context(), s, deadletter.Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, l)
	}
	return out
}

// a bubble runs a test in virtual time, with a bus over conn.
func bubble(
	t *testing.T, conn func() brokers.Conn, store deadletter.Store, subs []bus.Subscription, test func(t *testing.T, b *bus.Bus),
	opts ...bus.Option,
) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b, err := bus.New(t.Context(), conn(), bus.Config{Config: testRules}, append(opts, bus.WithDeadLetters(store))...)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range subs {
			if _, err := b.Subscribe(s); err != nil {
				t.Fatal(err)
			}
		}
		if err := b.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		test(t, b)
		if err := b.Close(t.Context()); err != nil {
			t.Errorf("Close: %v", err)
		}
		for name, st := range b.Stats().Subscriptions {
			if !st.Balanced() {
				t.Errorf("the books of %s do not balance: %+v", name, st)
			}
		}
	})
}

func emit(t *testing.T, b *bus.Bus, events ...schema.Event) {
	t.Helper()
	if err := b.Emit(t.Context(), events...); err != nil {
		t.Fatal(err)
	}
}

func named(id, subject string) schema.Event {
	e := event("a.b", subject)
	e.ID = id
	return e
}

func TestADeadLetterSaysWhatOneHasToKnow(t *testing.T) {
	store := deadletter.NewMemory(0, 0)
	bubble(t, inMemory, store, []bus.Subscription{{
		Name: "billing", Channels: []string{"x.all"},
		Retry:   bus.RetryPolicy{Attempts: 3, Backoff: bus.Backoff{Min: time.Minute, Max: time.Minute, NoJitter: true}},
		Handler: func(context.Context, schema.Event) error { return errors.New("card 17 declined") },
	}}, func(t *testing.T, b *bus.Bus) {
		e := named("e1", "user:1")
		if err := e.Metadata.Set("traceparent", "00-aa-bb-01"); err != nil {
			t.Fatal(err)
		}
		begin := time.Now().UTC()
		emit(t, b, e)
		time.Sleep(time.Hour)
		got := lettersOf(t, store)
		if len(got) != 1 {
			t.Fatalf("%d letters: %+v", len(got), got)
		}
		l := got[0]
		if l.Subscription != "billing" || l.Channel != "x.all" || l.EventID != "e1" || l.EventType != "a.b" || l.Key != "user:1" ||
			l.Trace != "00-aa-bb-01" || l.Attempts != 3 || l.Reason != deadletter.ReasonFailed || !l.Whole() ||
			l.Error != "after 3 attempts: card 17 declined" || l.Fingerprint != deadletter.Fingerprint("a.b", "card 9 declined") ||
			!l.First.Equal(begin) || !l.Last.Equal(begin.Add(2*time.Minute)) || len(l.History) != 3 || l.History[1].Number != 2 {
			t.Errorf("the letter says %+v", l)
		}
		if sent, err := schema.Decode(l.Body, 0); err != nil || sent.ID != "e1" || sent.Metadata.Text("traceparent") == "" {
			t.Errorf("its body is %s", l.Body)
		}
		st := b.Stats()
		if s := st.Subscriptions["billing"]; s.Failed != 1 || s.DeadLettered != 1 || st.DeadLetters.Written != 1 {
			t.Errorf("the books say %+v, %+v", s, st.DeadLetters)
		}
	})
}

func TestWhatIsNoEventAndWhatPanicsIsInTheDeadLettersToo(t *testing.T) {
	var conn brokers.Conn // made within the bubble
	store := deadletter.NewMemory(0, 0)
	bubble(t, func() brokers.Conn { conn = memory.New(); return conn }, store, []bus.Subscription{{
		Name: "s", Channels: []string{"x.all"}, Retry: bus.RetryPolicy{Attempts: 1},
		Handler: func(_ context.Context, e schema.Event) error {
			if e.ID == "panics" {
				panic("boom")
			}
			return bus.Drop(errors.New("not wanted"))
		},
	}}, func(t *testing.T, b *bus.Bus) {
		raw := []byte("{ no event \xff")
		if err := conn.Publish(t.Context(), []brokers.Message{{ID: "x", Channel: "x.all", Body: raw}}); err != nil {
			t.Fatal(err)
		}
		emit(t, b, named("panics", "user:1"), named("dropped", "user:2"))
		time.Sleep(time.Second)
		got := lettersOf(t, store)
		slices.SortFunc(got, func(a, b deadletter.Letter) int { return strings.Compare(a.Reason, b.Reason) })
		if len(got) != 2 || got[0].Reason != deadletter.ReasonMalformed || string(got[0].Body) != string(raw) ||
			got[1].Reason != deadletter.ReasonPanic || got[1].EventID != "panics" {
			t.Errorf("the letters are %+v", got)
		}
		if s := b.Stats().Subscriptions["s"]; s.DeadLettered != 2 || s.MalformedTotal() != 1 || s.Failed != 1 || s.InFlight != 0 {
			t.Errorf("the books say %+v", s)
		}
	})
}

// The store is away for a minute: the failing subscription pauses, the other goes on, and nothing is lost.
func TestASubscriptionPausesWhileItsDeadLettersCannotBeWritten(t *testing.T) {
	store := newMoodyStore()
	var others, mine atomic.Int64
	bubble(t, inMemory, store, []bus.Subscription{
		{Name: "mine", Channels: []string{"x.all"}, Concurrency: 4, Retry: bus.RetryPolicy{Attempts: 1},
			Handler: func(_ context.Context, e schema.Event) error {
				if mine.Add(1); e.ID == "bad" {
					return errors.New("no")
				}
				return nil
			}},
		{Name: "other", Channels: []string{"x.all"}, Handler: func(context.Context, schema.Event) error { others.Add(1); return nil }},
	}, func(t *testing.T, b *bus.Bus) {
		store.away.Store(true)
		emit(t, b, named("bad", "bad"))
		time.Sleep(time.Second) // it has failed
		for i := range 100 {
			emit(t, b, named(fmt.Sprint("good", i), fmt.Sprint("user:", i)))
		}
		time.Sleep(time.Minute)
		if mine.Load() != 1 || others.Load() != 101 {
			t.Errorf("the subscription that failed went on: %d; the other handled %d", mine.Load(), others.Load())
		}
		if err := b.Health(t.Context()); err == nil || !strings.Contains(err.Error(), "the store is away") {
			t.Errorf("Health says %v", err)
		}
		if n := store.triesOf("bad"); n < 30 || n > 62 {
			t.Errorf("the letter was tried %d times within 61 s, want once a second", n)
		}
		store.away.Store(false)
		time.Sleep(2 * time.Second)
		if got := lettersOf(t, store); len(got) != 1 || got[0].EventID != "bad" || mine.Load() != 101 {
			t.Errorf("when the store is back: %+v, handled %d", got, mine.Load())
		}
		if err := b.Health(t.Context()); err != nil {
			t.Errorf("Health says %v", err)
		}
	})
}

// A worker that Close has left behind in a hook comes to its letter later on: it waits for nobody.
func TestALetterThatComesAfterCloseIsLostAndCounted(t *testing.T) {
	store := newMoodyStore()
	store.away.Store(true)
	synctest.Test(t, func(t *testing.T) {
		finish := make(chan struct{})
		b, err := bus.New(t.Context(), unsettled{memory.New()}, bus.Config{Config: testRules}, bus.WithDeadLetters(store),
			bus.WithHooks(bus.Hooks{Failed: func(bus.Failed) { <-finish }}))
		if err != nil {
			t.Fatal(err)
		}
		sub, err := b.Subscribe(bus.Subscription{
			Name: "s", Channels: []string{"x.all"}, Handler: func(context.Context, schema.Event) error { return bus.Permanent(errors.New("no")) },
		})
		if err := errors.Join(err, b.Start(t.Context())); err != nil {
			t.Fatal(err)
		}
		emit(t, b, named("bad", "bad"))
		synctest.Wait()
		if err := b.Close(ended()); err == nil {
			t.Error("nothing was left behind")
		}
		close(finish)
		synctest.Wait()
		if st := b.Stats().DeadLetters; st.Waiting != 0 || st.Lost != 1 || sub.Stats().DeadLettered != 0 {
			t.Errorf("%+v, %+v", st, sub.Stats())
		}
	})
}

// Where the store does not come back, a shutdown gives the event back instead of losing it.
func TestWhatCouldNotBeWrittenIsGivenBackAtTheShutdown(t *testing.T) {
	store := newMoodyStore()
	store.away.Store(true)
	bubble(t, inMemory, store, []bus.Subscription{{
		Name: "s", Channels: []string{"x.all", "x.a"}, Retry: bus.RetryPolicy{Attempts: 1},
		Handler: func(context.Context, schema.Event) error { return errors.New("no") },
	}}, func(t *testing.T, b *bus.Bus) {
		emit(t, b, named("bad", "bad"))
		time.Sleep(10 * time.Second)
		if err := b.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if s := b.Stats().Subscriptions["s"]; s.Failed != 0 || s.Redelivered != 2 || s.InFlight != 0 {
			t.Errorf("the books say %+v", s)
		}
	})
}

// unsettled is a connection that takes nothing back, as Pub/Sub.
type unsettled struct{ brokers.Conn }

func (u unsettled) Subscribe(ctx context.Context, s brokers.Subscription, sink brokers.Sink) error {
	return u.Conn.Subscribe(ctx, s, autoSettler{sink})
}

type autoSettler struct{ brokers.Sink }

func (a autoSettler) Deliver(batch []brokers.Delivery) {
	for i := range batch {
		d := &batch[i]
		_ = d.Settler.Settle(context.Background(), []brokers.Settlement{{Token: d.Token}})
		d.Settler = nil
	}
	a.Sink.Deliver(batch)
}

func TestWhereNothingIsTakenBackLettersWaitForTheirStoreAndEveryLossIsCounted(t *testing.T) {
	store := newMoodyStore()
	var handled atomic.Int64
	const bad = 10_500
	bubble(t, func() brokers.Conn { return unsettled{memory.New()} }, store, []bus.Subscription{{
		Name: "s", Channels: []string{"x.all"}, Retry: bus.RetryPolicy{Attempts: 1},
		Handler: func(context.Context, schema.Event) error { handled.Add(1); return errors.New("no") },
	}}, func(t *testing.T, b *bus.Bus) {
		store.away.Store(true)
		for i := range bad {
			emit(t, b, event("a.b", fmt.Sprint("user:", i)))
		}
		time.Sleep(time.Minute)
		st := b.Stats()
		if s := st.Subscriptions["s"]; handled.Load() != bad || s.Failed != bad || s.DeadLettered != 10_000 ||
			st.DeadLetters.Waiting != 10_000 || st.DeadLetters.Lost != 500 || st.DeadLetters.Err == nil {
			t.Errorf("the books say %+v, %+v", s, st.DeadLetters)
		}
		store.away.Store(false)
		time.Sleep(2 * time.Second)
		if st := b.Stats().DeadLetters; st.Waiting != 0 || st.Written != 10_000 || st.Lost != 500 || st.Err != nil {
			t.Errorf("when the store is back: %+v", st)
		}
	})
}

// What is sent again is handled again by the subscription that failed, although it reads several channels and remembers the event.
func TestARedriveReachesTheSubscriptionThatFailed(t *testing.T) {
	for name, anew := range map[string]func(b *bus.Bus) deadletter.Sender{
		"only it": func(b *bus.Bus) deadletter.Sender { return b.ToSubscription },
		"all":     func(b *bus.Bus) deadletter.Sender { return deadletter.ToChannel(b.Send) },
	} {
		t.Run(name, func(t *testing.T) {
			store := deadletter.NewMemory(0, 0)
			var fixed atomic.Bool
			var mine, other atomic.Int64
			bubble(t, inMemory, store, []bus.Subscription{
				{Name: "mine", Channels: []string{"x.all", "x.a"}, Retry: bus.RetryPolicy{Attempts: 1},
					Handler: func(_ context.Context, e schema.Event) error {
						if !fixed.Load() || e.ID == "e3" {
							return errors.New("not fixed")
						}
						mine.Add(1)
						return nil
					}},
				{Name: "other", Channels: []string{"x.all"}, Handler: func(context.Context, schema.Event) error { other.Add(1); return nil }},
			}, func(t *testing.T, b *bus.Bus) {
				for i := range 5 {
					emit(t, b, named(fmt.Sprint("e", i), "user:1"))
				}
				time.Sleep(time.Second)
				if n := len(lettersOf(t, store)); n != 5 || other.Load() != 5 {
					t.Fatalf("%d letters, and the other handled %d", n, other.Load())
				}
				fixed.Store(true)
				r, err := deadletter.Redrive(t.Context(), b.DeadLetters(), anew(b), deadletter.RedriveOptions{})
				time.Sleep(time.Second)
				if r.Sent != 5 || err != nil || mine.Load() != 4 {
					t.Errorf("the redrive says %+v, %v; %d were handled", r, err, mine.Load())
				}
				if want := map[string]int64{"only it": 5, "all": 10}[name]; other.Load() != want && name == "only it" {
					t.Errorf("the other subscription handled %d, want %d", other.Load(), want)
				}
				if got := lettersOf(t, store); len(got) != 1 || got[0].EventID != "e3" {
					t.Errorf("left are %+v", got)
				}
			})
		})
	}
}

func TestALetterOfASubscriptionThatDoesNotRunHereStays(t *testing.T) {
	store := deadletter.NewMemory(0, 0)
	l := deadletter.Letter{ID: "1", Rev: "r", Subscription: "elsewhere", EventID: "e", Channel: "x.all"}
	if err := store.Put(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	bubble(t, inMemory, store, nil, func(t *testing.T, b *bus.Bus) {
		_, err := deadletter.Redrive(t.Context(), store, b.ToSubscription, deadletter.RedriveOptions{})
		if err == nil || !strings.Contains(err.Error(), `"elsewhere"`) || len(lettersOf(t, store)) != 1 {
			t.Errorf("got %v, %d letters", err, len(lettersOf(t, store)))
		}
	})
}

func TestAnEditedLetterIsANewEventThatNamesTheOldOne(t *testing.T) {
	old := named("old", "user:1")
	old.Time, old.Source = time.Now(), "s"
	if err := old.Metadata.Set("k", "v"); err != nil {
		t.Fatal(err)
	}
	whole, err := schema.Encode(old)
	if err != nil {
		t.Fatal(err)
	}
	l := deadletter.Letter{EventID: "old", Body: whole, Size: len(whole)}
	e, err := bus.EditLetter(l, func(e *schema.Event) error { e.Data = []byte(`{"n":2}`); return nil })
	if err != nil || e.ID != "" || string(e.Data) != `{"n":2}` || e.Metadata.Text(bus.EditedFrom) != "old" || e.Metadata.Text("k") != "v" {
		t.Errorf("got %+v, %v", e, err)
	}
	l.Size++
	if _, err := bus.EditLetter(l, func(*schema.Event) error { return nil }); err == nil {
		t.Error("a letter whose body was cut short was edited")
	}
}

func TestDeadLettersAreChosenByTheConfiguration(t *testing.T) {
	for url, want := range map[string]string{
		"":            "*deadletter.Memory",
		"memory://":   "*deadletter.Memory",
		"off":         "<nil>",
		"mysql://u:p": "dead_letters cannot be opened",
	} {
		b, err := bus.New(t.Context(), memory.New(), bus.Config{Config: testRules, DeadLetters: url})
		got := fmt.Sprint(err)
		if err == nil {
			got = fmt.Sprintf("%T", b.DeadLetters())
			b.Close(ended())
		}
		if !strings.Contains(got, want) {
			t.Errorf("%q: got %s, want %s", url, got, want)
		}
	}
}
