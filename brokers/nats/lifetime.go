package nats

import (
	"context"
	"sync"
)

// A gate counts the calls that are inside and lets nobody in once it is shut.
type gate struct {
	mu     sync.Mutex
	shut   bool
	inside int
	empty  chan struct{} // made by close, closed when nobody is inside any more
}

// enter reports whether the gate is open; then leave must follow.
func (g *gate) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut {
		return false
	}
	g.inside++
	return true
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.inside--; g.inside == 0 && g.shut {
		close(g.empty)
	}
}

// close shuts the gate and returns a channel that is closed once nobody is inside. It is called once.
func (g *gate) close() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = true
	g.empty = make(chan struct{})
	if g.inside == 0 {
		close(g.empty)
	}
	return g.empty
}

// A lifetime ends the contexts that were bound to it.
type lifetime struct {
	mu      sync.Mutex
	ended   bool
	cancels map[*context.CancelFunc]struct{}
}

// bind returns a context that ends with ctx and with the lifetime. The function that it returns must be called.
func (l *lifetime) bind(ctx context.Context) (context.Context, func()) {
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

// end ends all contexts that are bound, and those that will be.
func (l *lifetime) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	for cancel := range l.cancels {
		(*cancel)()
	}
	l.cancels = nil
}
