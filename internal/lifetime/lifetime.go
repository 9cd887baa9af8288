package lifetime

import (
	"context"
	"sync"
)

// A Gate counts the calls that are inside and lets nobody in once it is shut.
type Gate struct {
	mu     sync.Mutex
	shut   bool
	inside int
	empty  chan struct{} // made by Close, closed when nobody is inside any more
}

// Enter reports whether the gate is open; then Leave must follow.
func (g *Gate) Enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut {
		return false
	}
	g.inside++
	return true
}

// Leave is called once for each Enter that let its caller in.
func (g *Gate) Leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.inside--; g.inside == 0 && g.shut {
		close(g.empty)
	}
}

// Close shuts the gate and returns a channel that is closed once nobody is inside. It is called once.
func (g *Gate) Close() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = true
	g.empty = make(chan struct{})
	if g.inside == 0 {
		close(g.empty)
	}
	return g.empty
}

// A Lifetime ends the contexts that were bound to it.
type Lifetime struct {
	mu      sync.Mutex
	ended   bool
	cancels map[*context.CancelFunc]struct{}
}

// Bind returns a context that ends with ctx and with the lifetime. The function that it returns must be called.
func (l *Lifetime) Bind(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		cancel()
		return ctx, cancel
	}
	if l.cancels == nil {
		l.cancels = make(map[*context.CancelFunc]struct{})
	}
	key := &cancel
	l.cancels[key] = struct{}{}
	return ctx, func() {
		cancel()
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.cancels, key)
	}
}

// End ends all contexts that are bound, and those that will be.
func (l *Lifetime) End() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	for cancel := range l.cancels {
		(*cancel)()
	}
	l.cancels = nil
}
