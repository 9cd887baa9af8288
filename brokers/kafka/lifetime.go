package kafka

import "sync"

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
