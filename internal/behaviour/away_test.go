package behaviour

import (
	"context"
	"errors"
	"fmt"
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

// What a store that is away outlasts: so many tries of an event, one a second.
const (
	awayTries     = 3
	awayTriesFull = 60
)

// maxLetters is how many letters a bus holds whose events no broker takes back.
const maxLetters = 10_000

// An outage is that of the dead letters, of a subscription whose every event fails. Another one reads the same channel.
type outage struct {
	*place
	store       *awayStore
	sub, others *bus.Sub
	sent        int
	slowest     time.Duration // until the other one had handled a wave
}

// lettersAway has the dead letters away for three seconds, and for a minute in full size.
func lettersAway(p *place) func(t *testing.T) {
	return func(t *testing.T) {
		o := beginOutage(t, p)
		tries, spill := awayTries, 0
		if inFull {
			tries = awayTriesFull
			if !takesBack(p.caps) {
				spill = maxLetters
			}
		}
		for o.sent < spill {
			o.wave(t, 500)
		}
		for n := range tries {
			o.wave(t, 15)
			eventually(t, "the letters are tried once more", func() bool { _, most := o.store.often(); return most > n })
		}
		lost := o.away(t)
		o.store.away.Store(false)
		back := time.Now()
		eventually(t, "all letters are written", func() bool {
			st, err := o.store.Stats(t.Context())
			return err == nil && st.Depth == int64(o.sent-lost)
		})
		eventually(t, "all events are done with", func() bool { return o.sub.Stats().Failed == int64(o.sent) })
		shortest, most := o.store.often()
		if shortest < 900*time.Millisecond {
			t.Errorf("a letter was tried again after %v", shortest)
		}
		if st := o.bus.Stats().DeadLetters; st.Lost != int64(lost) || st.Waiting != 0 {
			t.Errorf("of %d letters %d are to be lost, and the books say %+v", o.sent, lost, st)
		}
		figures(t, fmt.Sprintf("%s: dead letters away for %d s: %d events failed, %d letters written %v after it was back, %d lost and counted; "+
			"%d tries of a letter at most, %v apart at least; another subscription had handled every wave after %v at most\n", p.scheme(),
			tries, o.sent, o.sent-lost, time.Since(back).Round(time.Millisecond), lost, most, shortest.Round(time.Millisecond),
			o.slowest.Round(time.Millisecond)))
	}
}

func beginOutage(t *testing.T, p *place) *outage {
	t.Helper()
	store := &awayStore{Memory: deadletter.NewMemory(2*maxLetters, 0), tries: make(map[string][]time.Time)}
	store.away.Store(true)
	own := &places{url: p.url, rows: p.rows, caps: p.caps, raw: p.raw}
	own.bus = own.open(t, bus.WithDeadLetters(store))
	o := &outage{place: own.at(p.row), store: store}
	s := o.subscription("mine", func(context.Context, schema.Event) error { return errNo })
	s.Retry = bus.RetryPolicy{Attempts: 1}
	o.sub = o.subscribe(s)
	o.others = o.subscribe(o.subscription("other", func(context.Context, schema.Event) error { return nil }))
	own.start(t)
	return o
}

// wave emits events, and waits until the other subscription has handled them.
func (o *outage) wave(t *testing.T, events int) {
	t.Helper()
	began := time.Now()
	for range events {
		o.emit(t, o.event(strconv.Itoa(o.sent)))
		o.sent++
	}
	eventually(t, "the other subscription has all", func() bool { return o.others.Stats().Handled == int64(o.sent) })
	o.slowest = max(o.slowest, time.Since(began))
}

// away checks what the bus says meanwhile, and returns how many letters are lost for good.
func (o *outage) away(t *testing.T) (lost int) {
	t.Helper()
	if o.bus.Health(t.Context()) == nil {
		t.Error("health says nothing")
	}
	if takesBack(o.caps) {
		if st := o.sub.Stats(); st.Failed+st.Handled != 0 {
			t.Errorf("while the store is away the books say %+v", st)
		}
		return 0
	}
	lost = max(0, o.sent-maxLetters)
	eventually(t, "all letters wait, up to a bound", func() bool {
		st := o.bus.Stats().DeadLetters
		return st.Waiting == int64(o.sent-lost) && st.Lost == int64(lost)
	})
	return lost
}
