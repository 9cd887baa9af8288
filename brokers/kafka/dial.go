package kafka

import (
	"context"
	"net"
	"sync"

	"github.com/eventbus-go/eventbus/brokers"
)

// sockets are the open connections of a conn. The client itself reads a connection until the server answers, whatever
// became of the caller; closing the socket is the only thing that ends that.
type sockets struct {
	mu     sync.Mutex
	closed bool
	open   map[*socket]struct{}
}

type socket struct {
	net.Conn
	all *sockets
}

// dialer dials with the default dialer and remembers what it dialled. The client limits the time.
func (s *sockets) dialer(ctx context.Context, network, addr string) (net.Conn, error) {
	nc, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	c := &socket{nc, s}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		_ = nc.Close()
		return nil, brokers.ErrClosed
	}
	if s.open == nil {
		s.open = make(map[*socket]struct{})
	}
	s.open[c] = struct{}{}
	return c, nil
}

// Close closes the socket and forgets it.
func (c *socket) Close() error {
	c.all.mu.Lock()
	delete(c.all.open, c)
	c.all.mu.Unlock()
	return c.Conn.Close()
}

// end closes all sockets and those that will be dialled.
func (s *sockets) end() {
	s.mu.Lock()
	open := s.open
	s.open, s.closed = nil, true
	s.mu.Unlock()
	for c := range open {
		_ = c.Conn.Close()
	}
}
