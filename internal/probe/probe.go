// Package probe asks what takes a while, such as whether a broker answers, for those who must not wait: metrics and
// health checks. A [Probe] asks at most every so often, at most once at a time, and is never waited for longer than its
// caller says.
package probe

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// ErrSlow is what Get returns of an answer that is not there in time.
var ErrSlow = errors.New("no answer in time")

// A Probe asks, and remembers the answer. Its methods are safe for concurrent use.
type Probe[T any] struct {
	// Ask is called on a goroutine of its own, with a context that ends after Timeout. A panic of it is its error.
	Ask func(ctx context.Context) (T, error)
	// Timeout bounds a question, and Every is how old an answer may be.
	Timeout, Every time.Duration

	mu      sync.Mutex
	running chan struct{} // closed when the question under way has ended; nil where none is
	asked   time.Time     // when the last answer came; zero for never
	answer  T
	err     error
}

// Start asks where the last answer is too old and no question is under way. What it returns is closed when the answer
// is there, and nil where it is there already. Of ctx only the values are used: others may wait for the answer when who
// asked has gone.
func (p *Probe[T]) Start(ctx context.Context) <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running == nil && (p.asked.IsZero() || time.Since(p.asked) >= p.Every) {
		p.running = make(chan struct{})
		asking, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.Timeout)
		go p.run(asking, cancel)
	}
	return p.running
}

func (p *Probe[T]) run(ctx context.Context, cancel context.CancelFunc) {
	defer cancel()
	answer, err := p.contained(ctx)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answer, p.err, p.asked = answer, err, time.Now()
	close(p.running)
	p.running = nil
}

func (p *Probe[T]) contained(ctx context.Context) (answer T, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	return p.Ask(ctx)
}

// Get returns the answer that running, which Start returned, waits for, or ErrSlow once end is closed. An answer of an
// earlier question counts for nothing.
func (p *Probe[T]) Get(running, end <-chan struct{}) (answer T, err error) {
	if running != nil {
		select {
		case <-running:
		case <-end:
			select {
			case <-running: // both have ended
			default:
				return answer, ErrSlow
			}
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.answer, p.err
}
