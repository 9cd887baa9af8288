package bus

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"github.com/eventbus-go/eventbus/router/middleware"
	"github.com/eventbus-go/eventbus/store/deadletter"
)

// logEvery is the least time between two log records of one kind; what happens meanwhile is counted in the next record.
const logEvery = time.Second

// hookQueue bounds the drops that wait for a slow Dropped hook.
const hookQueue = 1024

// A reporter tells the outside of trouble, from a goroutine of its own: a log handler or a hook that blocks never blocks
// a publisher.
type reporter struct {
	ctx   context.Context // of log records
	log   *slog.Logger
	hook  func(Dropped)
	panic func(where string, p any)

	mu      sync.Mutex
	kinds   map[string]*report // by kind, bounded by the kinds the code has, times the subscriptions and brokers
	drops   []Dropped
	missed  int64 // drops that did not fit
	stopped bool

	wake chan struct{}
	stop chan struct{}
	done chan struct{}
}

// A report is what is waiting to be logged of one kind.
type report struct {
	level   slog.Level
	message string
	count   int64
	attrs   []any // of the first one since the last record
	logged  time.Time
}

func newReporter(ctx context.Context, log *slog.Logger, hook func(Dropped), panicked func(string, any)) *reporter {
	return &reporter{
		ctx: ctx, log: log, hook: hook, panic: panicked, kinds: make(map[string]*report),
		wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{}),
	}
}

// droppedBy makes the dropReporter of a broker's lanes. broker is its name where the bus has several.
func (r *reporter) droppedBy(broker string) dropReporter {
	return func(reason DropReason, e *entry, channels []string, err error) {
		r.dropped(broker, reason, e, channels, err)
	}
}

func (r *reporter) dropped(broker string, reason DropReason, e *entry, channels []string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	rep := r.kind("drop:"+broker+":"+string(reason), slog.LevelWarn, "messages dropped")
	rep.count += int64(len(channels))
	if rep.attrs == nil {
		rep.attrs = []any{"reason", string(reason), LogEventID, e.id, LogEventType, e.typ, "channel", channels[0], "err", err}
		if broker != "" {
			rep.attrs = append(rep.attrs, "broker", broker)
		}
	}
	if r.hook != nil {
		for _, channel := range channels {
			if len(r.drops) == hookQueue || r.stopped {
				r.missed++
				continue
			}
			r.drops = append(r.drops, dropped(broker, reason, e, channel, err))
		}
	}
	r.signal()
}

// note logs something at a limited rate, by its kind. It does not block.
func (r *reporter) note(kind string, level slog.Level, message string, attrs ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	rep := r.kind(kind, level, message)
	rep.count++
	if rep.attrs == nil {
		rep.attrs = attrs
	}
	r.signal()
}

func (r *reporter) kind(name string, level slog.Level, message string) *report {
	rep := r.kinds[name]
	if rep == nil {
		rep = &report{level: level, message: message}
		r.kinds[name] = rep
	}
	return rep
}

func (r *reporter) signal() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

func (r *reporter) hooksMissed() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.missed
}

// run reports until close.
func (r *reporter) run() {
	defer close(r.done)
	tick := time.NewTimer(logEvery)
	defer tick.Stop()
	for {
		select {
		case <-r.wake:
		case <-tick.C:
		case <-r.stop:
			r.offer()
			r.write(time.Time{})
			return
		}
		r.offer()
		if wait := r.write(time.Now()); wait > 0 {
			tick.Reset(wait)
		}
	}
}

// offer hands the waiting drops to the hook.
func (r *reporter) offer() {
	r.mu.Lock()
	drops := r.drops
	r.drops = nil
	r.mu.Unlock()
	for _, d := range drops {
		r.call(d)
	}
}

func (r *reporter) call(d Dropped) {
	defer func() {
		if p := recover(); p != nil {
			r.panic("Dropped hook", p)
		}
	}()
	r.hook(d)
}

// write logs what is due at now, or everything where now is zero, and returns when it is to be called again, 0 for not.
func (r *reporter) write(now time.Time) (wait time.Duration) {
	type record struct {
		level   slog.Level
		message string
		attrs   []any
	}
	var due []record
	r.mu.Lock()
	for _, rep := range r.kinds {
		if rep.count == 0 {
			continue
		}
		if rest := logEvery - now.Sub(rep.logged); !now.IsZero() && rest > 0 {
			wait = max(wait, rest)
			continue
		}
		due = append(due, record{rep.level, rep.message, append(rep.attrs, "count", rep.count)})
		rep.count, rep.attrs, rep.logged = 0, nil, now
	}
	r.mu.Unlock()
	for _, d := range due {
		r.record(d.level, d.message, d.attrs)
	}
	return wait
}

// record writes one record. A panic of the log handler is counted, and waits to be logged like anything else.
func (r *reporter) record(level slog.Level, message string, attrs []any) {
	defer func() {
		if p := recover(); p != nil {
			r.panic("log handler", p)
		}
	}()
	for i, a := range attrs {
		if err, ok := a.(error); ok {
			attrs[i] = shortened(err)
		}
	}
	r.log.Log(r.ctx, level, message, attrs...)
}

// A shortError is an error whose text is more than a log line bears.
type shortError struct {
	error
	text string
}

func (e *shortError) Error() string { return e.text }

func (e *shortError) Unwrap() error { return e.error }

// shortened returns err where its text is no longer than what a dead letter keeps of it. One that panics is the log handler's to contain.
func shortened(err error) (short error) {
	defer func() {
		if recover() != nil {
			short = err
		}
	}()
	text := err.Error()
	if clipped := deadletter.Clip(text); len(clipped) < len(text) {
		return &shortError{err, clipped}
	}
	return err
}

// reportGrace is how long a hook or log handler that blocks holds up a Close that has the time.
const reportGrace = 5 * time.Second

// close reports what is left and ends the goroutine. A hook or log handler that blocks is waited for only briefly where ctx has ended,
// and not for long where it has not.
func (r *reporter) close(ctx context.Context) {
	r.mu.Lock()
	r.stopped = true
	r.mu.Unlock()
	close(r.stop)
	grace := time.NewTimer(reportGrace)
	defer grace.Stop()
	select {
	case <-r.done:
		return
	case <-grace.C:
		return
	case <-ctx.Done():
	}
	grace.Reset(obeyGrace)
	select {
	case <-r.done:
	case <-grace.C:
	}
}

// contain runs code of the user's that is not a handler, and turns its panic into an error.
func (b *Bus) contain(where string, f func()) (err error) {
	defer func() {
		if p := recover(); p != nil {
			b.panicked(where, p)
			err = fmt.Errorf("%s panicked: %v", where, p)
		}
	}()
	f()
	return nil
}

// panicked counts a contained panic and logs it. It is called while the panic is being recovered.
func (b *Bus) panicked(where string, p any) { b.notePanic(where, p, debug.Stack()) }

// notePanic counts a contained panic and logs it, with its stack where it is the first one of its place.
func (b *Bus) notePanic(where string, p any, stack []byte) {
	b.panics.Add(1)
	b.logPanic(where, p, stack)
}

func (b *Bus) logPanic(where string, p any, stack []byte) {
	kind, attrs := "panic:"+where, []any{"where", where, "panic", middleware.PanicText(p)}
	if _, seen := b.stacks.LoadOrStore(where, true); !seen {
		// A kind of its own: of several panics at once the others may be noted first, and theirs are the attributes that count.
		kind, attrs = "first "+kind, append(attrs, "stack", string(stack))
	}
	b.reporter.note(kind, slog.LevelError, "panic contained", attrs...)
}
