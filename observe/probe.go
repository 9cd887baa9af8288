package observe

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// errSlow is why a probe has no answer that was not there in time.
var errSlow = errors.New("no answer in time")

// grace is what an answer may take beyond its time: drivers return within 100 ms of their context's end.
const grace = 250 * time.Millisecond

// A probe asks something that takes a while: at most every so often, at most one at a time, and never longer waited for
// than it may take. Who asks while one is under way gets its answer.
type probe[T any] struct {
	ask            func(ctx context.Context) (T, error)
	timeout, every time.Duration

	mu      sync.Mutex
	running chan struct{} // closed when it has ended; nil where none runs
	asked   time.Time     // when the last answer came; zero for never
	answer  T
	err     error
}

// start asks where the last answer is too old. What it returns is closed when there is one, nil where there is.
func (p *probe[T]) start(ctx context.Context) <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running == nil && (p.asked.IsZero() || time.Since(p.asked) >= p.every) {
		p.running = make(chan struct{})
		// Others may wait for it too, when the one who asked has gone.
		asking, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.timeout)
		go p.run(asking, cancel)
	}
	return p.running
}

func (p *probe[T]) run(ctx context.Context, cancel context.CancelFunc) {
	defer cancel()
	answer, err := p.contained(ctx)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answer, p.err, p.asked = answer, err, time.Now()
	close(p.running)
	p.running = nil
}

func (p *probe[T]) contained(ctx context.Context) (answer T, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	return p.ask(ctx)
}

// get returns the answer, once end says that nothing is waited for any more. An old one counts for nothing.
func (p *probe[T]) get(running, end <-chan struct{}) (answer T, err error) {
	if running != nil {
		select {
		case <-running:
		case <-end:
			select {
			case <-running: // both have ended
			default:
				return answer, errSlow
			}
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.answer, p.err
}
