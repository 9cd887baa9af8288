package bus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/router"
)

// ErrRunning is what Run answers while another Run is running, or has been: a Bus runs once.
var ErrRunning = errors.New("bus: Run was called before: a Bus runs once")

// Run receives events and hands them to the subscriptions' handlers. It blocks until ctx ends, Close is called, or a
// subscription ends for good, and then stops receiving, lets handlers finish what was received, and settles it. It
// returns nil, or the error of the subscription that ended.
//
// A program that ends with its signal's context, such as that of signal.NotifyContext, had better not give it to Run but call
// Close when it ends: Close stops receiving as well, and has a deadline. See also [Bus.Start].
//
// Handlers get a context with the values of ctx that is not cancelled when ctx ends: a shutdown lets them finish, for as
// long as Config.Shutdown allows after the end of ctx, or until the context given to Close ends, whichever comes first.
// Publishing needs no Run.
func (b *Bus) Run(ctx context.Context) error {
	run, err := b.start(ctx)
	if err != nil {
		return err
	}
	return run.wait(ctx)
}

// wait receives until it is to end, and drains.
func (r *running) wait(ctx context.Context) error {
	defer close(r.stopped)
	r.ensureAll()
	for _, c := range r.subs {
		for _, f := range c.feeds {
			r.receivers.Go(func() { r.receive(f) })
		}
	}
	go r.awaitReady(r.bus.ready)
	<-r.fetch.Done()
	r.drain(r.bus.limits.Shutdown)
	// What came first is the cause: suppose a subscription ends for good, and ctx while the others' handlers finish.
	if failed := new(failure); errors.As(context.Cause(r.fetch), &failed) {
		return failed.error
	}
	return nil
}

// errStop ends a Run that was asked to end, and a failure one that cannot go on.
var errStop = errors.New("bus: stopped")

type failure struct{ error }

func (r *running) fail(err error) { r.stop(&failure{err}) }

// A running is one Run.
type running struct {
	bus       *Bus
	subs      []*consumer
	receivers sync.WaitGroup
	ensured   map[*link]chan struct{} // closed when a broker has the channels and groups; nil where that is not asked for

	fetch    context.Context // ends when no more is to be fetched
	stop     context.CancelCauseFunc
	handlers context.Context // ends when handlers have to give up
	giveUp   context.CancelFunc
	draining chan struct{} // closed when fetching has ended
	stopped  chan struct{} // closed when Run returns
	closing  chan struct{} // closed when Close takes over: its context is then what ends the handlers
}

func (b *Bus) start(ctx context.Context) (*running, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.isClosing {
		return nil, ErrClosed
	}
	if b.run != nil {
		return nil, ErrRunning
	}
	if err := b.checkConfigured(); err != nil {
		return nil, err
	}
	r := &running{
		bus: b, draining: make(chan struct{}), stopped: make(chan struct{}), closing: make(chan struct{}),
	}
	r.fetch, r.stop = context.WithCancelCause(ctx)
	r.handlers, r.giveUp = context.WithCancel(router.WithDraining(context.WithoutCancel(ctx), r.draining))
	for _, c := range b.subs {
		c.ctx = r.handlers
		for _, f := range c.feeds {
			f.settling = newSettleQueue(r.handlers, f)
		}
		r.subs = append(r.subs, c)
	}
	slices.SortFunc(r.subs, func(a, b *consumer) int { return strings.Compare(a.name, b.name) })
	b.run = r
	b.sayWhereLettersAre()
	return r, nil
}

// receive keeps one subscription on one broker going. A driver returns early only for what it cannot mend itself.
func (r *running) receive(f *feed) {
	c := f.c
	want := brokers.Subscription{
		Name: c.name, Channels: f.channels, Group: c.sub.Group, Start: c.sub.Start,
		Prefetch: c.sub.Prefetch, MaxBytes: r.bus.limits.MaxEventBytes,
	}
	if !r.awaitEnsured(f.link) {
		return
	}
	for attempt := 1; ; attempt++ {
		err := r.subscribe(f, want)
		switch {
		case r.fetch.Err() != nil:
			return
		case err == nil:
			err = errors.New("the driver ended it without being asked to")
		case !f.link.retryable(err):
			if f.link.tag != "" {
				err = fmt.Errorf("broker %s: %w", f.link.tag, err)
			}
			r.fail(&SubscriptionError{Name: c.name, Err: err})
			return
		}
		f.note("subscribe", slog.LevelError, "subscription interrupted", "err", err)
		r.pause(attempt)
	}
}

func (r *running) subscribe(f *feed, want brokers.Subscription) (err error) {
	if p := r.bus.contain("driver", func() { err = f.link.Subscribe(r.fetch, want, f) }); p != nil {
		return p
	}
	if p := new(brokers.PanicError); errors.As(err, &p) {
		r.bus.notePanic("driver", p.Value, p.Stack)
	}
	return err
}

func (r *running) pause(attempt int) {
	t := time.NewTimer(resend.Delay(attempt, rand.Float64()))
	defer t.Stop()
	select {
	case <-t.C:
	case <-r.fetch.Done():
	}
}

// awaitReady closes ready once every subscription is confirmed.
func (r *running) awaitReady(ready chan<- struct{}) {
	for l := range r.ensured {
		if !r.awaitEnsured(l) {
			return
		}
	}
	for _, c := range r.subs {
		for _, f := range c.feeds {
			select {
			case <-f.ready:
			case <-r.fetch.Done():
				return
			}
		}
	}
	close(ready)
}

// obeyGrace is how long handlers that were told to give up have to return, and what they leave to be settled.
const obeyGrace = 100 * time.Millisecond

// drain lets handlers finish what was received: until Close's context ends where Close was called, else for limit. What is
// left then is given back to its broker or dropped, and counted.
func (r *running) drain(limit time.Duration) {
	close(r.draining)
	defer func() {
		for _, c := range r.subs {
			c.unwatch()
		}
	}()
	for _, c := range r.subs {
		c.drain()
	}
	finished := make(chan struct{})
	go r.finish(finished)
	timeout := time.NewTimer(limit)
	defer timeout.Stop()
	select {
	case <-finished:
		r.giveUp()
		return
	case <-timeout.C:
		r.giveUp()
	case <-r.closing:
		select {
		case <-finished:
			r.giveUp()
			return
		case <-r.handlers.Done():
		}
	}
	for _, c := range r.subs {
		c.sched.giveUp()
	}
	timeout.Reset(obeyGrace)
	select {
	case <-finished:
	case <-timeout.C:
	}
}

// finish waits until everything that was received is settled.
func (r *running) finish(finished chan<- struct{}) {
	defer close(finished)
	r.receivers.Wait()
	for _, c := range r.subs {
		c.sched.end()
	}
	for _, c := range r.subs {
		c.workers.Wait()
		for _, f := range c.feeds {
			f.settling.wait()
		}
	}
}

// unfinished names the handlers that have not returned, by subscription.
func (r *running) unfinished() (left []HandlerLeft) {
	for _, c := range r.subs {
		left = append(left, c.left()...)
	}
	return left
}

// Close ends the bus in four phases: it stops receiving, lets handlers finish what was received, settles that and sends what
// is queued, and disconnects. Publishing works until the third phase, so that handlers may publish to the last.
//
// It returns by the end of ctx, even where a handler never returns or the broker is frozen: nil where everything was done,
// else a *CloseError that says what was left behind. What was left is counted in the ledger. A second Close waits for
// the first and returns what it returned.
func (b *Bus) Close(ctx context.Context) error {
	b.mu.Lock()
	first := !b.isClosing
	b.isClosing = true
	r := b.run
	b.mu.Unlock()
	if first {
		work, cancel := withReserve(ctx)
		defer cancel()
		b.closeErr = b.shutDown(work, r)
		close(b.done)
		return b.closeErr // also where ctx has ended meanwhile: it says what was left behind
	}
	select {
	case <-b.done:
	case <-ctx.Done():
		if !isClosed(b.done) { // both may have come true
			return &CloseError{Err: context.Cause(ctx)}
		}
	}
	return b.closeErr
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// closeReserve is the most that Close keeps of its time for what comes after the deadline of the work: handlers that were told
// to give up, a driver that is interrupted, drops that are offered to the hook.
const closeReserve = 4 * obeyGrace

// withReserve returns a context that ends before ctx by the reserve, or by a quarter of the time that is left.
func withReserve(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	return context.WithDeadline(ctx, deadline.Add(-min(closeReserve, time.Until(deadline)/4)))
}

func (b *Bus) shutDown(ctx context.Context, r *running) error {
	var left CloseError
	if r != nil {
		left.Handlers = r.end(ctx)
	}
	b.closed.Store(true)
	left.Dropped, left.Err = b.closeBrokers(ctx)
	if b.keeper != nil {
		left.Err = errors.Join(left.Err, b.keeper.close(ctx))
	}
	left.Err = errors.Join(left.Err, b.closeDedup())
	b.reporter.close(ctx)
	if len(left.Handlers) == 0 && left.Dropped == 0 && left.Err == nil {
		return nil
	}
	left.Err = cmp.Or(left.Err, context.Cause(ctx), ErrStuck)
	return &left
}

// end stops a Run and waits for it, until ctx ends. It names the handlers that have not returned.
func (r *running) end(ctx context.Context) []HandlerLeft {
	close(r.closing)
	defer context.AfterFunc(ctx, r.giveUp)()
	r.stop(errStop)
	<-r.stopped // within obeyGrace of ctx's end
	return r.unfinished()
}
