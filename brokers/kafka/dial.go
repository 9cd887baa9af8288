package kafka

import (
	"context"
	"crypto/tls"
	"net"
	"sync"

	"github.com/eventbus-go/eventbus/brokers"
)

// sockets are the open connections of a conn. The client itself reads a connection until the server answers, whatever
// became of the caller; closing the socket is the only thing that ends that.
type sockets struct {
	sec    *security
	mu     sync.Mutex
	closed bool
	open   map[*socket]struct{}
}

type socket struct {
	net.Conn
	all *sockets
}

// dial dials with the default dialer and remembers what it dialled. The client limits the time.
func (s *sockets) dial(ctx context.Context, network, addr string) (net.Conn, error) {
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

// secured is the client's dialer. The files of TLS are read here, for each connection, so that a certificate can be
// changed without a restart; the client would read them once.
func (s *sockets) secured(ctx context.Context, network, addr string) (net.Conn, error) {
	if !s.sec.tls {
		return s.dial(ctx, network, addr)
	}
	config, err := s.sec.files.Config()
	if err != nil {
		return nil, err
	}
	if config.ServerName, _, err = net.SplitHostPort(addr); err != nil {
		return nil, err
	}
	raw, err := s.dial(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	c := tls.Client(raw, config)
	if err := c.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return nil, err
	}
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
