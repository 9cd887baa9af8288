package middleware

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/eventbus-go/eventbus/router"
	"github.com/eventbus-go/eventbus/schema"
)

// The defaults of a Policy's fields.
const (
	DefaultAttempts = 3
	DefaultMaxWait  = 5 * time.Minute
)

// A Policy says how often a handler is tried and how long to wait in between. The zero value is ready for use.
type Policy struct {
	// Attempts is how often the handler is called at most, the first call included; 0 means 3, and 1 means no retry. A
	// negative number is refused by Validate, and counts as 1.
	Attempts int
	// Backoff is the wait between attempts. See there for its defaults.
	Backoff Backoff
	// MaxWait is the longest wait in place that a handler may ask for with router.RetryAfter; 0 or less means 5 minutes.
	// A wait keeps a worker, and the events of the same key, from going on: who asks for more gets no further attempt
	// here, and the error is returned as it is, for a broker that can redeliver later.
	MaxWait time.Duration
}

// Validate reports what in p cannot be meant. Its error names the field and the remedy.
func (p Policy) Validate() error {
	switch f := p.Backoff.Factor; {
	case p.Attempts < 0:
		return fmt.Errorf("retry: Attempts is %d, it has to be 1 or more (0 means %d)", p.Attempts, DefaultAttempts)
	case f != 0 && !(f >= 1):
		return fmt.Errorf("retry: Backoff.Factor is %v, it has to be 1 or more (0 means %d)", f, DefaultFactor)
	case p.Backoff.Min < 0, p.Backoff.Max < 0, p.MaxWait < 0:
		return errors.New("retry: Backoff.Min, Backoff.Max and MaxWait cannot be negative (0 means the default)")
	}
	return nil
}

func (p Policy) orDefaults() Policy {
	if p.Attempts == 0 {
		p.Attempts = DefaultAttempts
	}
	if p.MaxWait <= 0 {
		p.MaxWait = DefaultMaxWait
	}
	p.Attempts = max(p.Attempts, 1)
	return p
}

// ErrInterrupted is found by errors.Is in what Retry returns where it gave up before its attempts were used up because
// the context ended or the subscription drains. The event is not known to be bad: another consumer, or the next start,
// may well handle it. The error wraps the one of the last attempt too.
var ErrInterrupted = errors.New("retrying was interrupted")

// A Retrying is what an observer is told before each wait.
type Retrying struct {
	Event   schema.Event
	Attempt int           // the attempt that failed, from 1, as router.Attempt counts
	Err     error         // why
	Delay   time.Duration // how long it will be until the next attempt
}

// A RetryOption changes what Retry does beside its policy.
type RetryOption func(*retrier)

// OnRetry has fn called before each wait; given more than once, all are called in turn. Observing never changes the
// schedule: the next attempt's time is set before fn is called, and a panic in fn is contained and ignored.
func OnRetry(fn func(r Retrying)) RetryOption {
	return func(r *retrier) { r.observers = append(r.observers, fn) }
}

// WithRandom replaces the source of the jitter, which is math/rand/v2. fn returns numbers from 0 to 1 and is called
// concurrently.
func WithRandom(fn func() float64) RetryOption {
	return func(r *retrier) { r.random = fn }
}

// Retry calls the handler again in place, while the worker waits, until it succeeds or p's attempts are used up, and then
// returns its last error, in an [*AttemptsError] where there was more than one attempt. What the handler returns decides:
//
//   - nil, [router.Permanent] and [router.Drop] are returned at once. They are looked for inside other errors too, and
//     come before a RetryAfter in the same error.
//   - [router.RetryAfter] is tried again after the time it asks for, or the backoff where that is longer. It counts as an
//     attempt like any other. More than p.MaxWait is not waited for.
//   - any other error is tried again after the backoff.
//
// Where ctx has ended when an attempt fails, or ends during a wait, or the subscription drains ([router.Draining]) while
// another attempt would be due, the error is ErrInterrupted and wraps the last attempt's. An attempt that runs is never
// interrupted. From the second attempt on, the context tells the number: [router.Attempt].
func Retry(p Policy, opts ...RetryOption) router.Middleware {
	r := &retrier{policy: p.orDefaults(), random: rand.Float64}
	for _, o := range opts {
		o(r)
	}
	return func(next router.Handler) router.Handler {
		return func(ctx context.Context, e schema.Event) error {
			err := next(ctx, e)
			if err == nil {
				return nil
			}
			return r.again(ctx, e, next, err)
		}
	}
}

type retrier struct {
	policy    Policy
	random    func() float64
	observers []func(Retrying)
}

// again is everything after a first attempt that failed with err, out of the way of those that succeed.
func (r *retrier) again(ctx context.Context, e schema.Event, next router.Handler, err error) error {
	base := router.Attempt(ctx)
	for n := 1; ; n++ {
		if final(err) {
			return counted(n, err)
		}
		if ctx.Err() != nil {
			return interrupted(err)
		}
		delay, more := r.policy.next(n, err, r.random())
		if !more {
			return counted(n, err)
		}
		if !r.wait(ctx, Retrying{e, base + n - 1, err, delay}) {
			return interrupted(err)
		}
		if err = next(router.WithAttempt(ctx, base+n), e); err == nil {
			return nil
		}
	}
}

// next decides, after attempt n failed with err: how long to wait, and whether there is another attempt at all.
func (p Policy) next(n int, err error, random float64) (delay time.Duration, more bool) {
	if n >= p.Attempts {
		return 0, false
	}
	delay = p.Backoff.Delay(n, random)
	if after := new(router.RetryAfterError); errors.As(err, &after) {
		if after.After > p.MaxWait {
			return 0, false
		}
		delay = max(delay, after.After)
	}
	return delay, true
}

// final reports whether err says that there is nothing to try again.
func final(err error) bool {
	var permanent *router.PermanentError
	var drop *router.DropError
	return errors.As(err, &permanent) || errors.As(err, &drop)
}

// wait tells the observers and waits; it reports whether the wait was not interrupted.
func (r *retrier) wait(ctx context.Context, what Retrying) bool {
	t := time.NewTimer(what.Delay)
	defer t.Stop()
	draining := router.Draining(ctx)
	for _, fn := range r.observers {
		observe(fn, what)
	}
	select { // first on their own, for select picks at random among what is ready
	case <-ctx.Done():
		return false
	case <-draining:
		return false
	default:
	}
	select {
	case <-ctx.Done():
		return false
	case <-draining:
		return false
	case <-t.C:
		return true
	}
}

func observe(fn func(Retrying), what Retrying) {
	defer func() { _ = recover() }()
	fn(what)
}

func interrupted(err error) error { return fmt.Errorf("%w: %w", ErrInterrupted, err) }

// An AttemptsError is the last error of a handler that was tried more than once.
type AttemptsError struct {
	Attempts int // in this process
	Err      error
}

// Error says how often the handler was tried, and the last error.
func (e *AttemptsError) Error() string {
	return fmt.Sprintf("after %d attempts: %v", e.Attempts, e.Err)
}

// Unwrap returns the last error.
func (e *AttemptsError) Unwrap() error { return e.Err }

// Attempts returns how many attempts of Retry led to err: 1 where it does not say.
func Attempts(err error) int {
	if counted := new(AttemptsError); errors.As(err, &counted) {
		return counted.Attempts
	}
	return 1
}

func counted(attempts int, err error) error {
	if attempts == 1 {
		return err
	}
	return &AttemptsError{Attempts: attempts, Err: err}
}
