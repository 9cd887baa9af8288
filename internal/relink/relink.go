package relink

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
)

// The delays between attempts to connect: exponential backoff with full jitter
// (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/). The longest, with the time to connect, brings
// a link back within 5 s of its server. A session that lived for steadyAfter was not part of the trouble.
const (
	backoffMin  = 50 * time.Millisecond
	backoffMax  = time.Second
	steadyAfter = time.Second
)

// A Session is the life of one connection.
type Session interface {
	comparable
	// Over is closed once the session has ended.
	Over() <-chan struct{}
	// Close ends the session, within a moment, and returns once it is over.
	Close()
}

// A Link holds a connection from its first use until Close.
type Link[S Session] struct {
	ctx     context.Context // of the goroutine: ends with Close
	connect func(ctx context.Context) (S, error)
	closed  error // what a closed link answers

	mu      sync.Mutex
	started bool
	ended   bool
	cancel  context.CancelFunc
	stopped chan struct{} // closed when the goroutine has ended
	current S             // zero while there is none
	err     error         // why the last attempt failed; nil while one is under way
	changed chan struct{} // closed and replaced when current or err changes
}

// New returns a link that has ctx's values and outlives it. connect opens a session; closed is what the link answers after
// Close.
func New[S Session](ctx context.Context, closed error, connect func(ctx context.Context) (S, error)) *Link[S] {
	l := &Link[S]{connect: connect, closed: closed, changed: make(chan struct{}), stopped: make(chan struct{})}
	l.ctx, l.cancel = context.WithCancel(context.WithoutCancel(ctx))
	return l
}

// Now returns the session, or why there is none: it waits for the outcome of an attempt to connect that is under way,
// and not for the next one.
func (l *Link[S]) Now(ctx context.Context) (S, error) {
	var none S
	for {
		s, changed, err := l.state()
		if s != none || err != nil {
			return s, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return none, ctx.Err()
		}
	}
}

// Next waits until there is a session, and calls failed with the error of each attempt that fails meanwhile; it returns
// what failed returns where that is not nil.
func (l *Link[S]) Next(ctx context.Context, failed func(error) error) (S, error) {
	var none S
	var told error
	for {
		s, changed, err := l.state()
		switch {
		case s != none:
			return s, nil
		case err == l.closed && err != nil:
			return none, err
		case err != nil && err != told:
			told = err
			if err := failed(err); err != nil {
				return none, err
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return none, ctx.Err()
		}
	}
}

// state returns the session or the last failure, or neither, and starts the link if nobody did.
func (l *Link[S]) state() (S, <-chan struct{}, error) {
	var none S
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return none, nil, l.closed
	}
	if !l.started {
		l.started = true
		go l.run(l.ctx)
	}
	if l.current != none {
		select {
		case <-l.current.Over(): // run has not noticed yet
			return none, l.changed, nil
		default:
		}
	}
	return l.current, l.changed, l.err
}

// Alive returns the session, or the zero value where there is none at the moment.
func (l *Link[S]) Alive() S {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.current
}

// run connects again and again until ctx ends.
func (l *Link[S]) run(ctx context.Context) {
	defer close(l.stopped)
	var none S
	for attempt := 0; Sleep(ctx, Backoff(attempt, rand.Float64())); attempt++ {
		l.become(none, nil)
		began := time.Now()
		var s S
		err := brokers.Contain(func() (err error) {
			s, err = l.connect(ctx)
			return err
		})
		if err != nil {
			l.become(none, err)
			continue
		}
		l.become(s, nil)
		select {
		case <-s.Over():
		case <-ctx.Done():
		}
		s.Close()
		l.become(none, nil)
		if time.Since(began) >= steadyAfter {
			attempt = -1
		}
	}
}

func (l *Link[S]) become(s S, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.current, l.err = s, err
	close(l.changed)
	l.changed = make(chan struct{})
}

// Close ends the link and returns a channel that is closed once its goroutine has ended.
func (l *Link[S]) Close() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.ended {
		l.ended = true
		l.cancel()
		if !l.started {
			close(l.stopped)
		}
		close(l.changed)
		l.changed = make(chan struct{})
	}
	return l.stopped
}

// Backoff returns the delay before an attempt, the first one being 0. random is from 0 to 1.
func Backoff(attempt int, random float64) time.Duration {
	if attempt <= 0 {
		return 0
	}
	most := backoffMax
	if attempt < 10 {
		most = min(backoffMax, backoffMin<<(attempt-1))
	}
	return time.Duration(random * float64(most))
}

// Sleep waits for d and reports whether ctx is still alive then.
func Sleep(ctx context.Context, d time.Duration) bool {
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
