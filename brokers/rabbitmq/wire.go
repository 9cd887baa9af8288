package rabbitmq

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// wireBuffer is how many bytes a corked wire collects before it writes them.
const wireBuffer = 64 << 10

// A wire is a connection that ends with its first failed write, that remembers when it last had something to read, and that
// can collect what is written: the client writes each message by itself, which is a system call each.
type wire struct {
	net.Conn
	timeout time.Duration // longest one write may take
	last    atomic.Int64  // nanoseconds since the epoch

	mu     sync.Mutex
	corked int
	buf    []byte
}

func (w *wire) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.corked > 0 && len(w.buf)+len(b) <= wireBuffer {
		w.buf = append(w.buf, b...)
		return len(b), nil
	}
	if err := w.flush(); err != nil {
		return 0, err
	}
	return w.write(b)
}

// cork makes writes wait for uncork, as long as there is room for them.
func (w *wire) cork() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.corked++
}

// uncork writes what was collected.
func (w *wire) uncork() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.corked--
	_ = w.flush() // a failure ends the connection, and everybody who waits for a reply hears of that
}

func (w *wire) flush() error {
	if len(w.buf) == 0 {
		return nil
	}
	_, err := w.write(w.buf)
	w.buf = w.buf[:0]
	return err
}

func (w *wire) write(b []byte) (int, error) {
	_ = w.Conn.SetWriteDeadline(time.Now().Add(w.timeout))
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
