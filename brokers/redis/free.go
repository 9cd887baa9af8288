package redis

import (
	"context"
	"slices"
	"sync"
)

// freePublications is how many publications are kept for later calls; a full one has some 150 KB.
const freePublications = 8

// freeList has publications that are not in use. A sync.Pool would lose them to the garbage collector, and with them the
// thousands of objects that are not to be allocated again.
type freeList struct {
	mu   sync.Mutex
	list []*publication
}

// take returns a publication that watches ctx, else the one that was used last, or nil.
func (f *freeList) take(ctx context.Context) *publication {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.list) == 0 {
		return nil
	}
	i := slices.IndexFunc(f.list, func(p *publication) bool { return p.line != nil && p.line.watches(ctx) })
	if i < 0 {
		i = len(f.list) - 1
	}
	p := f.list[i]
	f.list = slices.Delete(f.list, i, i+1)
	return p
}

// put keeps p, and reports whether there was room for it.
func (f *freeList) put(p *publication) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.list) == freePublications {
		return false
	}
	f.list = append(f.list, p)
	return true
}

// unwatch lets go of the contexts of all calls that are over.
func (f *freeList) unwatch() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range f.list {
		if p.line != nil {
			p.line.unwatch()
		}
	}
}
