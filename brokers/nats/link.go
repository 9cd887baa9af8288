package nats

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
)

// The delays between attempts to connect: exponential backoff with full jitter
// (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/). The longest, with dial_timeout, brings a
// link back within 5 s of its server. A session that lived for steadyAfter was not part of the trouble.
const (
	backoffMin  = 50 * time.Millisecond
	backoffMax  = time.Second
	steadyAfter = time.Second
)

// A link holds a connection to the broker: one session after the other, from its first use until close. A goroutine of
// its own connects, so that nobody else ever waits for a server longer than for its context.
type link struct {
	set settings
	ctx context.Context // of the goroutine: ends with close
	// opened, where it is not nil, is called with each new session before anybody else gets it. Its error ends the session.
	opened func(ctx context.Context, s *session) error

	mu      sync.Mutex
	started bool
	closed  bool
	cancel  context.CancelFunc
	stopped chan struct{} // closed when the goroutine has ended
	current *session      // nil while there is none
	err     error         // why the last attempt failed; nil while one is under way
	changed chan struct{} // closed and replaced when current or err changes
}

// newLink returns a link that has ctx's values and outlives it.
func newLink(ctx context.Context, set settings) *link {
	l := &link{set: set, changed: make(chan struct{}), stopped: make(chan struct{})}
	l.ctx, l.cancel = context.WithCancel(context.WithoutCancel(ctx))
	return l
}

// now returns the session, or why there is none: it waits for the outcome of an attempt to connect that is under way,
// and not for the next one.
func (l *link) now(ctx context.Context) (*session, error) {
	for {
		s, changed, err := l.state()
		if s != nil || err != nil {
			return s, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// next waits until there is a session, and calls failed with the error of each attempt that fails meanwhile; it returns
// what failed returns where that is not nil.
func (l *link) next(ctx context.Context, failed func(error) error) (*session, error) {
	var told error
	for {
		s, changed, err := l.state()
		switch {
		case s != nil:
			return s, nil
		case err == brokers.ErrClosed:
			return nil, err
		case err != nil && err != told:
			told = err
			if err := failed(err); err != nil {
				return nil, err
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// state returns the session or the last failure, or neither, and starts the link if nobody did.
func (l *link) state() (*session, <-chan struct{}, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, nil, brokers.ErrClosed
	}
	if !l.started {
		l.started = true
		go l.run(l.ctx)
	}
	if l.current != nil {
		select {
		case <-l.current.over: // run has not noticed yet
			return nil, l.changed, nil
		default:
		}
	}
	return l.current, l.changed, l.err
}

// alive returns the session, or nil where there is none at the moment.
func (l *link) alive() *session {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.current
}

// run connects again and again until ctx ends.
func (l *link) run(ctx context.Context) {
	defer close(l.stopped)
	for attempt := 0; sleep(ctx, backoff(attempt, rand.Float64())); attempt++ {
		l.become(nil, nil)
		began := time.Now()
		s, err := l.connect(ctx)
		if err != nil {
			l.become(nil, err)
			continue
		}
		l.become(s, nil)
		select {
		case <-s.over:
		case <-ctx.Done():
		}
		s.close()
		l.become(nil, nil)
		if time.Since(began) >= steadyAfter {
			attempt = -1
		}
	}
}

func (l *link) connect(ctx context.Context) (*session, error) {
	s, err := newSession(ctx, l.set)
	if err != nil || l.opened == nil {
		return s, err
	}
	ctx, cancel := context.WithTimeout(ctx, l.set.dialTimeout)
	defer cancel()
	if err := l.opened(ctx, s); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (l *link) become(s *session, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.current, l.err = s, err
	close(l.changed)
	l.changed = make(chan struct{})
}

// close ends the link and returns a channel that is closed once its goroutine has ended.
func (l *link) close() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.closed = true
		l.cancel()
		if !l.started {
			close(l.stopped)
		}
		close(l.changed)
		l.changed = make(chan struct{})
	}
	return l.stopped
}

// backoff returns the delay before an attempt, the first one being 0. random is from 0 to 1.
func backoff(attempt int, random float64) time.Duration {
	if attempt <= 0 {
		return 0
	}
	most := backoffMax
	if attempt < 10 {
		most = min(backoffMax, backoffMin<<(attempt-1))
	}
	return time.Duration(random * float64(most))
}

// sleep waits for d and reports whether ctx is still alive then.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
