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
// Ids are kept as 128 bits of two hashes with random seeds, so that it holds no pointers for the garbage collector to follow; two ids
// of a million collide with a probability below 2^-88.
type Memory struct {
	max   int
	seeds [2]maphash.Seed
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
	return &Memory{
		max: events, seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}, begin: time.Now(), known: make(map[key]entry),
	}
}

func (m *Memory) key(scope, id string) (k key) {
	var h maphash.Hash
	for i, seed := range m.seeds {
		h.SetSeed(seed)
		_, _ = h.WriteString(scope)
		_ = h.WriteByte(0)
		_, _ = h.WriteString(id)
		k[i] = h.Sum64()
	}
	return k
}

// Reserve implements Store.
func (m *Memory) Reserve(_ context.Context, scope, id string, token uint64, lease time.Duration) (State, error) {
	k, now := m.key(scope, id), time.Since(m.begin)
	m.mu.Lock()
	defer m.mu.Unlock()
	if e, ok := m.known[k]; ok && now < e.until {
		if e.handled {
			return Handled, nil
		}
		return Reserved, nil
	}
	m.known[k] = entry{token: token, until: now + lease}
	return Fresh, nil
}

// Renew implements Store.
func (m *Memory) Renew(_ context.Context, scope, id string, token uint64, lease time.Duration) (bool, error) {
	k, now := m.key(scope, id), time.Since(m.begin)
	m.mu.Lock()
	defer m.mu.Unlock()
	e, ok := m.known[k]
	if !ok || e.handled || e.token != token {
		return false, nil
	}
	m.known[k] = entry{token: token, until: now + lease}
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
