package dedup

import (
	"context"
	"fmt"
	"hash/maphash"
	"net/url"
	"strconv"
	"sync"
	"time"
)

// DefaultEvents bounds a Memory that is given no bound: some 10 MB.
const DefaultEvents = 100_000

func init() { Register("memory", openMemory) }

// openMemory reads memory://?max_events=1000.
func openMemory(text string) (Store, error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("the URL cannot be read: %q", text)
	}
	events := 0
	for key, values := range u.Query() {
		if events, err = strconv.Atoi(values[0]); key != "max_events" || err != nil || events < 1 {
			return nil, fmt.Errorf("memory:// knows one parameter, max_events, the number of events it remembers; not %s=%s", key, values[0])
		}
	}
	return NewMemory(events), nil
}

// A Memory is a Store within the process. It is bounded: where there are too many, the events that were handled first are
// forgotten, which Forgotten counts. Its methods are safe for concurrent use, and never fail.
//
// Ids are kept as 128 bits of hashes with random seeds, so that it holds no pointers for the garbage collector to follow; two ids
// of a million collide with a probability below 2^-88.
type Memory struct {
	max   int
	seeds [2]struct{ scope, id maphash.Seed }
	begin time.Time // leases and windows are counted from here, whatever the wall clock does

	mu        sync.Mutex
	known     map[key]entry
	order     []key // of those confirmed, a ring
	next      int
	forgotten int64
}

type key [2]uint64

type entry struct {
	token   uint64
	until   time.Duration
	handled bool
}

// NewMemory returns an empty store that remembers at most so many handled events; 0 or less means DefaultEvents. Those that are
// being handled come on top, which the concurrency bounds.
func NewMemory(events int) *Memory {
	if events <= 0 {
		events = DefaultEvents
	}
	m := &Memory{max: events, begin: time.Now(), known: make(map[key]entry)}
	for i := range m.seeds {
		m.seeds[i].scope, m.seeds[i].id = maphash.MakeSeed(), maphash.MakeSeed()
	}
	return m
}

// key hashes the scope and the id apart, each by seeds of its own: hashing two short strings is several times quicker than writing
// them one after the other into one hash.
func (m *Memory) key(scope, id string) (k key) {
	for i, seed := range m.seeds {
		k[i] = maphash.String(seed.scope, scope) ^ maphash.String(seed.id, id)
	}
	return k
}

// end is when a lease that begins now runs out. One for ever costs no look at the clock.
func (m *Memory) end(lease time.Duration) time.Duration {
	if lease >= Forever {
		return Forever
	}
	return time.Since(m.begin) + lease
}

// Reserve implements Store.
func (m *Memory) Reserve(_ context.Context, scope, id string, token uint64, lease time.Duration) (State, error) {
	k := m.key(scope, id)
	m.mu.Lock()
	defer m.mu.Unlock()
	if e, ok := m.known[k]; ok && time.Since(m.begin) < e.until {
		if e.handled {
			return Handled, nil
		}
		return Reserved, nil
	}
	m.known[k] = entry{token: token, until: m.end(lease)}
	return Fresh, nil
}

// Renew implements Store.
func (m *Memory) Renew(_ context.Context, scope, id string, token uint64, lease time.Duration) (bool, error) {
	k := m.key(scope, id)
	m.mu.Lock()
	defer m.mu.Unlock()
	e, ok := m.known[k]
	if !ok || e.handled || e.token != token {
		return false, nil
	}
	m.known[k] = entry{token: token, until: m.end(lease)}
	return true, nil
}

// Confirm implements Store.
func (m *Memory) Confirm(_ context.Context, scope, id string, window time.Duration) error {
	k, now := m.key(scope, id), time.Since(m.begin)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.known[k] = entry{handled: true, until: now + window}
	if len(m.order) < m.max {
		m.order = append(m.order, k)
		return nil
	}
	if old, ok := m.known[m.order[m.next]]; ok && old.handled {
		if now < old.until {
			m.forgotten++
		}
		delete(m.known, m.order[m.next])
	}
	m.order[m.next] = k
	m.next = (m.next + 1) % m.max
	return nil
}

// Release implements Store.
func (m *Memory) Release(_ context.Context, scope, id string, token uint64) error {
	k := m.key(scope, id)
	m.mu.Lock()
	defer m.mu.Unlock()
	if e, ok := m.known[k]; ok && !e.handled && e.token == token {
		delete(m.known, k)
	}
	return nil
}

// Forgotten is how many handled events made room for others before their window was over.
func (m *Memory) Forgotten() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.forgotten
}
