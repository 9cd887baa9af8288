package dedup

import (
	"context"
	"sync"
	"time"
)

// DefaultEvents bounds a Memory that is given no bound: some 15 MB with ids of 36 bytes.
const DefaultEvents = 100_000

// A Memory is a Store within the process. It is bounded: where there are too many, the events that were handled first are
// forgotten, which Forgotten counts. Its methods are safe for concurrent use, and never fail.
type Memory struct {
	max int

	mu        sync.Mutex
	known     map[key]entry
	order     []key // of those confirmed, a ring
	next      int
	forgotten int64
}

type key struct{ scope, id string }

type entry struct {
	token   uint64
	handled bool
	until   time.Time
}

// NewMemory returns an empty store that remembers at most so many handled events; 0 or less means DefaultEvents. Those that are
// being handled come on top, which the concurrency bounds.
func NewMemory(events int) *Memory {
	if events <= 0 {
		events = DefaultEvents
	}
	return &Memory{max: events, known: make(map[key]entry)}
}

// Reserve implements Store.
func (m *Memory) Reserve(_ context.Context, scope, id string, token uint64, lease time.Duration) (State, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	k, now := key{scope, id}, time.Now()
	if e, ok := m.known[k]; ok && now.Before(e.until) {
		if e.handled {
			return Handled, nil
		}
		return Reserved, nil
	}
	m.known[k] = entry{token: token, until: now.Add(lease)}
	return Fresh, nil
}

// Confirm implements Store.
func (m *Memory) Confirm(_ context.Context, scope, id string, window time.Duration) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	k := key{scope, id}
	m.known[k] = entry{handled: true, until: time.Now().Add(window)}
	if len(m.order) < m.max {
		m.order = append(m.order, k)
		return nil
	}
	if old, ok := m.known[m.order[m.next]]; ok && old.handled {
		if time.Now().Before(old.until) {
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
	m.mu.Lock()
	defer m.mu.Unlock()
	if e, ok := m.known[key{scope, id}]; ok && !e.handled && e.token == token {
		delete(m.known, key{scope, id})
	}
	return nil
}

// Forgotten is how many handled events made room for others before their window was over.
func (m *Memory) Forgotten() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.forgotten
}
