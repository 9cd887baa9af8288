package nats

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	natsgo "github.com/nats-io/nats.go"
)

// errSessionOver is why a session ended where the client does not say.
var errSessionOver = errors.New("the connection to the NATS server is gone")

// A session is the life of one connection to a server, from its handshake to its first error.
type session struct {
	nc   *natsgo.Conn
	wire *wire
	over chan struct{} // closed once the client has ended; what it had received is in its subscriptions' channels then
	err  error         // why; valid once over is closed
	acks *acks         // of JetStream, on a connection that publishes

	mu     sync.Mutex
	denied []denial // what this session may not do, oldest first, at most deniedKept
	seen   uint64   // how many denials there were
	woken  chan struct{}
}

// A denial is an error reply that names what the user may not do.
type denial struct {
	number uint64
	err    error
}

// deniedKept bounds what a session remembers of its denials: more than a batch has of different channels, usually.
const deniedKept = 1024

// newSession connects to one of the servers and returns once it has answered.
func newSession(ctx context.Context, set settings) (*session, error) {
	opts, err := set.options()
	if err != nil {
		return nil, err
	}
	d := &wireDialer{ctx: ctx, timeout: set.dialTimeout}
	s := &session{over: make(chan struct{}), woken: make(chan struct{})}
	opts = append(opts, natsgo.SetCustomDialer(d), natsgo.ClosedHandler(s.closed), natsgo.ErrorHandler(s.failed))
	stop := context.AfterFunc(ctx, d.abort)
	defer stop()
	s.nc, err = natsgo.Connect(set.servers, opts...)
	if err != nil {
		d.abort()
		if d.err != nil && errors.Is(err, natsgo.ErrNoServers) {
			err = d.err // the client forgets the reason
		}
		return nil, explained(err)
	}
	s.wire = d.last()
	return s, nil
}

func (s *session) closed(nc *natsgo.Conn) {
	if s.err = nc.LastError(); s.err == nil {
		s.err = errSessionOver
	}
	close(s.over)
}

// failed is called by the client, one error after the other, in the order in which the server sent them.
func (s *session) failed(_ *natsgo.Conn, _ *natsgo.Subscription, err error) {
	if !errors.Is(err, natsgo.ErrPermissionViolation) {
		return // slow consumers are counted where they are read; what ends the session is told when it ends
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen++
	s.denied = append(s.denied, denial{s.seen, err})
	if len(s.denied) > deniedKept {
		s.denied = s.denied[1:]
	}
	close(s.woken)
	s.woken = make(chan struct{})
}

// denials returns how many there were so far.
func (s *session) denials() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen
}

// deniedSince returns the denials after number that the server sent before the reply to the last flush.
//
// The client calls failed on another goroutine than the one that read the reply. But it notes the error before it
// reads on: where that is a denial which failed was not called with yet, it will be within the next moment.
func (s *session) deniedSince(ctx context.Context, number uint64) []error {
	last := s.nc.LastError()
	if last == nil || !errors.Is(last, natsgo.ErrPermissionViolation) {
		return s.after(number)
	}
	for {
		s.mu.Lock()
		woken, known := s.woken, false
		for i := len(s.denied) - 1; i >= 0 && !known; i-- {
			known = s.denied[i].err == last
		}
		s.mu.Unlock()
		if known {
			return s.after(number)
		}
		select {
		case <-woken:
		case <-s.over:
			return s.after(number)
		case <-ctx.Done():
			return append(s.after(number), last)
		}
	}
}

// news returns a channel that is closed with the next denial.
func (s *session) news() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.woken
}

func (s *session) after(number uint64) (out []error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range s.denied {
		if d.number > number {
			out = append(out, d.err)
		}
	}
	return out
}

// flush returns once the server has read all that was sent before.
func (s *session) flush(ctx context.Context) error {
	if _, bounded := ctx.Deadline(); !bounded {
		var cancel func()
		ctx, cancel = context.WithTimeout(ctx, time.Hour) // the client insists; a dead connection is noticed long before
		defer cancel()
	}
	return s.nc.FlushWithContext(ctx)
}

// Over is relink.Session's.
func (s *session) Over() <-chan struct{} { return s.over }

// Close ends the session at once, even where the client is in the middle of a write.
func (s *session) Close() {
	s.wire.abort()
	s.nc.Close()
	<-s.over
}

// A wireDialer dials for one session.
type wireDialer struct {
	ctx     context.Context // ends dialling and nothing else: the client's interface has no place for it
	timeout time.Duration

	mu      sync.Mutex
	aborted bool
	wires   []*wire
	err     error // of the last dial that failed
}

// Dial is called by the client.
func (d *wireDialer) Dial(network, addr string) (net.Conn, error) {
	raw, err := (&net.Dialer{Timeout: d.timeout}).DialContext(d.ctx, network, addr)
	d.mu.Lock()
	defer d.mu.Unlock()
	if err != nil {
		d.err = err
		return nil, err
	}
	w := &wire{Conn: raw}
	w.heard()
	if d.aborted {
		w.abort()
	}
	d.wires = append(d.wires, w)
	return w, nil
}

func (d *wireDialer) abort() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.aborted = true
	for _, w := range d.wires {
		w.abort()
	}
}

func (d *wireDialer) last() *wire {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.wires[len(d.wires)-1]
}

// A wire is a connection that ends with its first failed write, and that remembers when it last had something to read.
//
// The client drops what it could not write and goes on. Suppose the write of a batch times out with nothing written: the
// next PING would be answered, and the batch taken for confirmed.
type wire struct {
	net.Conn
	last atomic.Int64 // nanoseconds since the epoch
}

func (w *wire) Write(b []byte) (int, error) {
	n, err := w.Conn.Write(b)
	if err != nil {
		_ = w.Conn.Close()
	}
	return n, err
}

func (w *wire) Read(b []byte) (int, error) {
	n, err := w.Conn.Read(b)
	if n > 0 {
		w.heard()
	}
	return n, err
}

func (w *wire) heard() { w.last.Store(time.Now().UnixNano()) }

// lastHeard is when the server last sent anything.
func (w *wire) lastHeard() time.Time { return time.Unix(0, w.last.Load()) }

func (w *wire) abort() { _ = w.Conn.Close() }
