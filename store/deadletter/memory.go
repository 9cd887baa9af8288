package deadletter

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"sync"
)

// The bounds of a Memory that is given none.
const (
	DefaultMemoryLetters = 10_000
	DefaultMemoryBytes   = 64 << 20
)

func init() { Register("memory", openMemory) }

// openMemory reads memory://?max=1000.
func openMemory(text string) (Store, error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("the URL cannot be read: %q", text)
	}
	letters := 0
	for key, values := range u.Query() {
		if letters, err = strconv.Atoi(values[0]); key != "max" || err != nil || letters < 1 {
			return nil, fmt.Errorf("memory:// knows one parameter, max, the number of letters it keeps; not %s=%s", key, values[0])
		}
	}
	return NewMemory(letters, 0), nil
}

// A Memory keeps letters within the process, up to a bound: the oldest ones make room for new ones, and are counted. It is for
// tests, and for services that can bear to lose their dead letters with the process.
type Memory struct {
	letters, bytes int

	mu      sync.Mutex
	all     map[string]Letter
	lines   map[string][]string // the ids of each line, in its order
	order   []Letter            // sorted by place; only ID, Rev, Last and Size are set
	held    int
	evicted int64
}

// NewMemory returns an empty store of at most so many letters, and so many bytes of their bodies; 0 or less means the defaults. A
// single letter always fits.
func NewMemory(letters, bytes int) *Memory {
	if letters <= 0 {
		letters = DefaultMemoryLetters
	}
	if bytes <= 0 {
		bytes = DefaultMemoryBytes
	}
	return &Memory{letters: letters, bytes: bytes, all: make(map[string]Letter), lines: make(map[string][]string)}
}

// Put implements [Store]. It never fails.
func (m *Memory) Put(_ context.Context, letters ...Letter) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range letters {
		m.put(&letters[i])
	}
	return nil
}

// put writes a letter. m.mu is held.
func (m *Memory) put(l *Letter) {
	if line := LineOf(l); line != "" && !slices.Contains(m.lines[line], l.ID) {
		m.lines[line] = append(m.lines[line], l.ID)
	}
	m.take(l.ID)
	i, _ := slices.BinarySearchFunc(m.order, *l, byPlace)
	m.order = slices.Insert(m.order, i, Letter{ID: l.ID, Rev: l.Rev, Last: l.Last, Size: len(l.Body)})
	m.all[l.ID] = *l
	m.held += len(l.Body)
	for len(m.order) > 1 && (len(m.order) > m.letters || m.held > m.bytes) {
		m.drop(m.order[0].ID)
		m.evicted++
	}
}

// PutBehind implements [LineStore].
func (m *Memory) PutBehind(_ context.Context, l Letter) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	line := m.lines[LineOf(&l)]
	switch {
	case len(line) == 0:
		return false, nil
	case !slices.Contains(line, l.ID):
		m.put(&l)
	}
	return true, nil
}

// Line implements [LineStore].
func (m *Memory) Line(_ context.Context, subscription, key string, limit int) (out []Letter, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	line := m.lines[lineName(subscription, key)]
	for _, id := range line[:min(limit, len(line))] {
		out = append(out, m.all[id])
	}
	return out, nil
}

// drop removes a letter, if it is there, from its line, too. m.mu is held.
func (m *Memory) drop(id string) bool {
	l, ok := m.all[id]
	if line := LineOf(&l); ok && line != "" {
		m.lines[line] = slices.DeleteFunc(m.lines[line], func(other string) bool { return other == id })
		if len(m.lines[line]) == 0 {
			delete(m.lines, line)
		}
	}
	return m.take(id)
}

// take removes a letter, if it is there, and leaves its line as it is. m.mu is held.
func (m *Memory) take(id string) bool {
	l, ok := m.all[id]
	if !ok {
		return false
	}
	if i, found := slices.BinarySearchFunc(m.order, l, byPlace); found {
		m.order = slices.Delete(m.order, i, i+1)
	}
	delete(m.all, id)
	m.held -= len(l.Body)
	return true
}

// byPlace is the order of Page: by the last failure, and the id within a moment.
func byPlace(a, b Letter) int {
	return cmp.Or(cmp.Compare(a.Last.UnixMicro(), b.Last.UnixMicro()), cmp.Compare(a.ID, b.ID))
}

// Page implements [Store].
func (m *Memory) Page(_ context.Context, cursor string, limit int) ([]Letter, string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := 0
	if cursor != "" {
		at, err := ParsePlace(cursor)
		if err != nil {
			return nil, "", err
		}
		var found bool
		if i, found = slices.BinarySearchFunc(m.order, at, byPlace); found {
			i++
		}
	}
	var out []Letter
	for ; i < len(m.order) && len(out) < limit; i++ {
		out = append(out, m.all[m.order[i].ID])
	}
	if i == len(m.order) || len(out) == 0 {
		return out, "", nil
	}
	return out, Place(out[len(out)-1]), nil
}

// Remove implements [Store].
func (m *Memory) Remove(_ context.Context, letters ...Letter) (n int, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, l := range letters {
		if m.all[l.ID].Rev == l.Rev && m.drop(l.ID) {
			n++
		}
	}
	return n, nil
}

// Stats implements [Store].
func (m *Memory) Stats(context.Context) (Stats, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	st := Stats{Depth: int64(len(m.order)), Evicted: m.evicted}
	if len(m.order) > 0 {
		st.Oldest = m.order[0].Last
	}
	return st, nil
}

// Close implements [Store], and does nothing.
func (m *Memory) Close() error { return nil }
