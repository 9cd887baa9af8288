package redis

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// A line is the one connection of a publication that has a client of its own. go-redis obeys a context's deadline and not its
// cancellation; knowing the connection, a line interrupts the client at once for either, so that Publish can run on its
// caller's goroutine. Handing each batch to another goroutine and back cost as much as the batch where it was small
// (41 µs instead of 22 for a single message).
type line struct {
	over    atomic.Bool   // the call's context has ended: nothing may wait on the connection
	stopped chan struct{} // has an element once interrupt is through

	// ended is what the line is watching, between calls too: a bus makes many calls with one context, and watching it anew
	// for each would allocate. stop ends it. Both are the caller's, who has the line for itself.
	ended <-chan struct{}
	stop  func() bool

	exchange *exchange // of a publication; nil where go-redis writes and reads

	mu sync.Mutex
	nc *lineConn // the current connection, if there is one
}

func newLine() *line { return &line{stopped: make(chan struct{}, 1)} }

// watch has the line interrupted when ctx ends, even if that is after the call that it is for.
func (l *line) watch(ctx context.Context) {
	if l.watches(ctx) && ctx.Err() == nil {
		return // an interruption from now on is one of this call
	}
	l.unwatch()
	l.over.Store(false)
	if ended := ctx.Done(); ended != nil {
		l.ended, l.stop = ended, context.AfterFunc(ctx, l.interrupt)
	}
}

// watches reports whether the line is watching ctx, or one that ends with it.
func (l *line) watches(ctx context.Context) bool { return l.ended != nil && l.ended == ctx.Done() }

// unwatch ends the watching, and waits for an interruption that has begun: it would be one of the next call.
func (l *line) unwatch() {
	if l.ended == nil {
		return
	}
	if !l.stop() {
		<-l.stopped
	}
	l.ended, l.stop = nil, nil
}

func (l *line) interrupt() {
	l.over.Store(true)
	l.mu.Lock()
	if l.nc != nil {
		_ = l.nc.Conn.SetDeadline(past)
	}
	l.mu.Unlock()
	l.stopped <- struct{}{}
}

// past is a deadline that is over.
var past = time.Unix(1, 0)

// dialer returns a dialer whose connections the line can interrupt.
func (l *line) dialer(dial dialFunc) dialFunc {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		nc, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		lc := &lineConn{Conn: nc, line: l}
		l.mu.Lock()
		l.nc = lc
		l.mu.Unlock()
		if sc, ok := nc.(syscall.Conn); ok {
			return &plainLineConn{lineConn: lc, Conn: sc}, nil
		}
		return lc, nil
	}
}

// A lineConn takes no deadline that would outlast its line's interruption, and carries the line's exchange.
type lineConn struct {
	net.Conn
	line *line
}

// Write writes the pipeline of the line's exchange in the place of its stand-in, and everything else as it is.
func (c *lineConn) Write(b []byte) (int, error) {
	x := c.line.exchange
	if x == nil || string(b) != standIn {
		return c.Conn.Write(b)
	}
	if err := x.write(c); err != nil {
		return 0, err
	}
	return len(b), nil
}

// Read reads the replies to the pipeline, and then says what go-redis expects to hear.
func (c *lineConn) Read(b []byte) (int, error) {
	x := c.line.exchange
	if x == nil || x.written != c {
		return c.Conn.Read(b)
	}
	x.written = nil
	if err := x.read(c.Conn); err != nil {
		return 0, err
	}
	return copy(b, standInReply), nil
}

func (c *lineConn) SetDeadline(t time.Time) error { return c.limit(c.Conn.SetDeadline, t) }

func (c *lineConn) SetReadDeadline(t time.Time) error { return c.limit(c.Conn.SetReadDeadline, t) }

func (c *lineConn) SetWriteDeadline(t time.Time) error { return c.limit(c.Conn.SetWriteDeadline, t) }

// limit sets a deadline, and then looks whether the line was interrupted: whichever of the two comes second, the
// interruption wins.
func (c *lineConn) limit(set func(time.Time) error, t time.Time) error {
	err := set(t)
	if c.line.over.Load() {
		return set(past)
	}
	return err
}

// A plainLineConn is a lineConn without TLS, of which go-redis looks at the socket before it uses it again.
type plainLineConn struct {
	*lineConn
	syscall.Conn
}
