package behaviour

import (
	"context"
	"errors"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/internal/testbroker"
	"github.com/eventbus-go/eventbus/schema"
	"github.com/eventbus-go/eventbus/store/deadletter"
)

// killed has a process end between the write of a dead letter and the ack of its event, and another one go on.
func killed(p *place) func(t *testing.T) {
	return func(t *testing.T) {
		if p.url == "memory://" {
			return // it ends with the process
		}
		server := testbroker.AnyRedis(t)
		store := openLetters(t, server.URL())
		p.kill(t, p.briefly(), server.URL(), "")
		first := all(t, store)
		if len(first) != 1 || first[0].EventID != p.event("victim").ID {
			t.Fatalf("after the kill the dead letters are %+v", first)
		}
		if !p.caps.Durable {
			return
		}
		next := &places{url: p.briefly(), rows: p.rows, caps: p.caps, raw: p.raw}
		b := next.open(t, bus.WithDeadLetters(store))
		s := p.keeping(func(context.Context, schema.Event) error { return errNo })
		s.KeepOrder = false
		sub, err := b.Subscribe(s)
		if err != nil {
			t.Fatal(err)
		}
		next.bus = b
		next.start(t)
		eventually(t, "the event comes again", func() bool { return sub.Stats().DeadLettered > 0 })
		second := all(t, store)
		if len(second) != 1 || second[0].ID != first[0].ID || second[0].Rev == first[0].Rev {
			t.Errorf("after the redelivery they are %+v, want the same letter, written again", second)
		}
	}
}

func all(t *testing.T, s deadletter.Store) (out []deadletter.Letter) {
	t.Helper()
	for l, err := range deadletter.List(t.Context(), s, deadletter.Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, l)
	}
	return out
}

// An awayStore is a store that can be away, and notes when each event was to be written.
type awayStore struct {
	*deadletter.Memory
	away atomic.Bool

	mu    sync.Mutex
	tries map[string][]time.Time
}

func (s *awayStore) Put(ctx context.Context, letters ...deadletter.Letter) error {
	s.mu.Lock()
	for _, l := range letters {
		s.tries[l.EventID] = append(s.tries[l.EventID], time.Now())
	}
	s.mu.Unlock()
	if s.away.Load() {
		return errors.New("the store is away")
	}
	return s.Memory.Put(ctx, letters...)
}

// often returns the shortest time between two tries of one event, and how many tries there were at most.
func (s *awayStore) often() (shortest time.Duration, most int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	shortest = time.Hour
	for _, tries := range s.tries {
		most = max(most, len(tries))
		for i := 1; i < len(tries); i++ {
			shortest = min(shortest, tries[i].Sub(tries[i-1]))
		}
	}
	return shortest, most
}

// away is how many tries of an event a store that is away outlasts: one a second.
func away() int {
	if os.Getenv("EVENTBUS_FULL") == "1" {
		return 60
	}
	return 3
}

func lettersAway(p *place) func(t *testing.T) {
	return func(t *testing.T) {
		store := &awayStore{Memory: deadletter.NewMemory(0, 0), tries: make(map[string][]time.Time)}
		store.away.Store(true)
		own := &places{url: p.url, rows: p.rows, caps: p.caps, raw: p.raw}
		own.bus = own.open(t, bus.WithDeadLetters(store))
		o := own.at(p.row)
		var other diary
		s := o.subscription("mine", func(_ context.Context, e schema.Event) error { return errNo })
		s.Retry = bus.RetryPolicy{Attempts: 1}
		sub := o.subscribe(s)
		o.subscribe(o.subscription("other", other.handle))
		own.start(t)
		const events = 20
		for i := range events {
			o.emit(t, o.event(strconv.Itoa(i)))
		}
		eventually(t, "the other subscription has all", func() bool { return other.len() == events })
		if takesBack(p.caps) {
			eventually(t, "the letters were tried", func() bool { _, most := store.often(); return most > away() })
			if st := sub.Stats(); st.Failed+st.Handled != 0 || o.bus.Health(t.Context()) == nil {
				t.Errorf("while the store is away the books say %+v, and health nothing", st)
			}
		} else {
			eventually(t, "all letters wait", func() bool { return o.bus.Stats().DeadLetters.Waiting == events })
			eventually(t, "the first was tried", func() bool { _, most := store.often(); return most > away() })
		}
		store.away.Store(false)
		eventually(t, "all letters are written", func() bool {
			st, err := store.Stats(t.Context())
			return err == nil && st.Depth == events
		})
		if shortest, _ := store.often(); shortest < 900*time.Millisecond {
			t.Errorf("a letter was tried again after %v", shortest)
		}
		if lost := o.bus.Stats().DeadLetters.Lost; lost != 0 {
			t.Errorf("%d letters were lost", lost)
		}
	}
}
