package testbroker

import (
	"net"
	"sync"
	"testing"
)

// A Mode is what a Proxy does with connections.
type Mode int

// Forward passes bytes on. BlackHole keeps connections open and passes nothing on, in neither direction, as a firewall
// that forgot a connection does. Reset ends connections with a TCP reset, open ones at once and new ones when they are
// accepted. Refuse closes the port, and resets open connections.
const (
	Forward Mode = iota
	BlackHole
	Reset
	Refuse
)

// A Proxy is a TCP proxy on a loopback port. Its methods are safe for concurrent use.
type Proxy struct {
	target string
	addr   string

	mu       sync.Mutex
	mode     Mode
	listener net.Listener
	links    map[*link]struct{}
	done     chan struct{}
	wg       sync.WaitGroup
}

// A link is one client's connection and the one to the target.
type link struct {
	client, server net.Conn
	stalled        chan struct{} // closed when nothing is passed on any more
	once           sync.Once
}

// NewProxy starts a proxy before target (host:port). Close stops it.
func NewProxy(target string) (*Proxy, error) {
	port, err := freePort() // which stays free while the proxy refuses connections
	if err != nil {
		return nil, err
	}
	p := &Proxy{target: target, addr: loopback(port), links: make(map[*link]struct{}), done: make(chan struct{})}
	if err := p.listen(); err != nil {
		return nil, err
	}
	return p, nil
}

// StartProxy starts a proxy for one test and closes it when the test has ended.
func StartProxy(tb testing.TB, target string) *Proxy {
	tb.Helper()
	p, err := NewProxy(target)
	if err != nil {
		tb.Fatalf("testbroker: proxy: %v", err)
	}
	tb.Cleanup(p.Close)
	return p
}

// Addr is host:port of the proxy. It stays the same in every mode.
func (p *Proxy) Addr() string { return p.addr }

// URL is the broker URL of the proxy for a Redis without a password.
func (p *Proxy) URL() string { return "redis://" + p.addr }

// Links is how many connections are open.
func (p *Proxy) Links() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.links)
}

// HalfOpen turns the connections that are open now into black holes and leaves the mode for new ones as it is.
func (p *Proxy) HalfOpen() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		l.stall()
	}
}

// SetMode changes what becomes of open and of new connections. Forward does not revive a connection that was stalled:
// what it lost is lost.
func (p *Proxy) SetMode(m Mode) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mode = m
	for l := range p.links {
		switch m {
		case BlackHole:
			l.stall()
		case Reset, Refuse:
			l.reset()
		}
	}
	if m == Refuse {
		if p.listener != nil {
			_ = p.listener.Close()
			p.listener = nil
		}
		return nil
	}
	if p.listener == nil {
		return p.listenLocked()
	}
	return nil
}

// Close ends the proxy and its connections and waits for its goroutines.
func (p *Proxy) Close() {
	p.mu.Lock()
	select {
	case <-p.done:
	default:
		close(p.done)
	}
	if p.listener != nil {
		_ = p.listener.Close()
		p.listener = nil
	}
	for l := range p.links {
		l.stall()
		l.reset()
	}
	p.mu.Unlock()
	p.wg.Wait()
}

func (p *Proxy) listen() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.listenLocked()
}

func (p *Proxy) listenLocked() error {
	l, err := net.Listen("tcp", p.addr)
	if err != nil {
		return err
	}
	p.listener, p.addr = l, l.Addr().String()
	p.wg.Go(func() { p.accept(l) })
	return nil
}

func (p *Proxy) accept(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		p.wg.Go(func() { p.serve(c) })
	}
}

// serve passes one connection on until either side ends.
func (p *Proxy) serve(client net.Conn) {
	l := &link{client: client, stalled: make(chan struct{})}
	if !p.admit(l) {
		return
	}
	defer p.forget(l)
	server, err := net.Dial("tcp", p.target)
	if err != nil {
		l.reset()
		return
	}
	if !p.attach(l, server) {
		return
	}
	var both sync.WaitGroup
	both.Go(func() { p.pump(l, client, server) })
	both.Go(func() { p.pump(l, server, client) })
	both.Wait()
}

// admit treats a new connection as the mode says, and reports whether there is one to serve.
func (p *Proxy) admit(l *link) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.done:
		l.reset()
		return false
	default:
	}
	switch p.mode {
	case Reset, Refuse:
		l.reset()
		return false
	case BlackHole:
		l.stall()
	}
	p.links[l] = struct{}{}
	return true
}

// attach gives l its other side, unless the proxy was closed meanwhile.
func (p *Proxy) attach(l *link, server net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.done:
		_ = server.Close()
		return false
	default:
		l.server = server
		return true
	}
}

func (p *Proxy) forget(l *link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.links, l)
	l.reset()
}

// pump passes bytes on in one direction. A stalled link is not read any more, so that the sender's buffers fill up, as
// with a peer that is gone; what was read when it stalled is lost.
func (p *Proxy) pump(l *link, from, to net.Conn) {
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		select {
		case <-l.stalled:
			<-p.done // neither an end nor a reset of one side reaches the other through a black hole
			return
		default:
		}
		if n > 0 {
			if _, werr := to.Write(buf[:n]); werr != nil {
				err = werr
			}
		}
		if err != nil {
			_ = from.Close()
			_ = to.Close()
			return
		}
	}
}

func (l *link) stall() { l.once.Do(func() { close(l.stalled) }) }

// reset ends both sides with a TCP reset.
func (l *link) reset() {
	for _, c := range []net.Conn{l.client, l.server} {
		if t, ok := c.(*net.TCPConn); ok {
			_ = t.SetLinger(0)
			_ = t.Close()
		}
	}
}
