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

// Later makes Retry return a [*LaterError] instead of waiting longer than the policy's InPlace: for a caller that can hand the
// event over again when its time has come, and go on with others until then. Such a caller gives the number of the next
// attempt by router.WithAttempt. A LaterError that comes from inside, of something that did not want the handler to be called, or its
// failure to count, is returned at once, and is no attempt.
func Later() RetryOption {
	return func(r *retrier) { r.later = true }
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
// interrupted. The first attempt is the one that ctx tells ([router.Attempt]); from the second on, the handler's context
// tells the number.
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
	later     bool
}

// again is everything after a first attempt that failed with err, out of the way of those that succeed.
func (r *retrier) again(ctx context.Context, e schema.Event, next router.Handler, err error) error {
	var past history
	for n := router.Attempt(ctx); ; n++ {
		if r.later {
			if later := new(LaterError); errors.As(err, &later) {
				return &LaterError{After: later.After, Attempt: n - 1, AnyOrder: later.AnyOrder, Err: later.Err, History: past}
			}
		}
		past = past.add(n, err)
		if final(err) {
			return past.end(err)
		}
		if ctx.Err() != nil {
			return interrupted(past.end(err))
		}
		p := r.policy.of(err)
		delay, more := p.next(n, err, r.random())
		if !more {
			return past.end(err)
		}
		if r.later && delay > p.InPlace {
			return past.later(delay, p.AnyOrder, err)
		}
		if !r.wait(ctx, Retrying{e, n, err, delay}) {
			return interrupted(past.end(err))
		}
		if err = next(router.WithAttempt(ctx, n+1), e); err == nil {
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
	select {
	case <-ctx.Done():
	case <-draining:
	case <-t.C:
	}
	select { // once more on their own, for select picks at random among what is ready
	case <-ctx.Done():
		return false
	case <-draining:
		return false
	default:
		return true
	}
}

func observe(fn func(Retrying), what Retrying) {
	defer func() { _ = recover() }()
	fn(what)
}

func interrupted(err error) error { return fmt.Errorf("%w: %w", ErrInterrupted, err) }
