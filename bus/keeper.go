package bus

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/eventbus-go/eventbus/store/deadletter"
)

const (
	// keepTimeout is how long one write of dead letters may take.
	keepTimeout = time.Second
	// keepEvery is the time between two tries of a write that has failed.
	keepEvery = time.Second
	// maxBuffered and maxBufferedBytes bound the letters that wait in this process while their store is away.
	maxBuffered      = 10_000
	maxBufferedBytes = 32 << 20
	// keepBatch is how many of them are written at once.
	keepBatch = 100
)

// A keeper writes dead letters for all subscriptions of a bus, and holds those whose events no broker takes back while the store is
// away.
type keeper struct {
	store deadletter.Store
	owned bool // Close closes the store
	note  func(kind string, level slog.Level, message string, attrs ...any)
	guard func(where string, f func()) error // contains panics of the store

	mu      sync.Mutex
	waiting []deadletter.Letter
	closed  bool // nothing is written any more
	bytes   int
	written int64
	lost    int64
	err     error // why the last write failed; nil while the store works
	since   time.Time

	ctx  context.Context // of the writes: ends when Close's deadline has passed
	end  context.CancelFunc
	wake chan struct{}
	stop chan struct{}
	done chan struct{}
}

// newKeeper starts a keeper, which runs until its close. Of ctx only the values are used.
func newKeeper(ctx context.Context, b *Bus, store deadletter.Store, owned bool) *keeper {
	k := &keeper{
		store: store, owned: owned, note: b.reporter.note, guard: b.contain,
		wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{}),
	}
	k.ctx, k.end = context.WithCancel(context.WithoutCancel(ctx))
	go k.run()
	return k
}

// put writes letters now, within ctx, and remembers whether that worked.
func (k *keeper) put(ctx context.Context, letters ...deadletter.Letter) error {
	return k.result(k.write(ctx, letters...), len(letters))
}

// write writes letters now, within ctx.
func (k *keeper) write(ctx context.Context, letters ...deadletter.Letter) error {
	ctx, cancel := k.limited(ctx)
	defer cancel()
	return k.ask(func() error { return k.store.Put(ctx, letters...) })
}

// ask does something with the store, whose panic is an error.
func (k *keeper) ask(do func() error) (err error) {
	if p := k.guard("store of dead letters", func() { err = do() }); p != nil {
		return p
	}
	return err
}

// limited is a context for one answer of the store.
func (k *keeper) limited(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, keepTimeout)
}

// wrote counts letters that were written.
func (k *keeper) wrote(n int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.written += int64(n)
}

// result remembers whether the store has worked, and counts the letters that it has taken. It returns err.
func (k *keeper) result(err error, letters int) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err == nil {
		k.written += int64(letters)
		k.err = nil
		return nil
	}
	if k.err == nil {
		k.since = time.Now()
	}
	k.err = err
	k.note("dead letters", slog.LevelError, "dead letters cannot be written: where the broker keeps events, their subscription "+
		"pauses; elsewhere they wait in this process", "err", err, "since", k.since, "waiting", len(k.waiting), "lost", k.lost)
	return err
}

// away returns why the store does not work; nil where it does.
func (k *keeper) away() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.err == nil {
		return nil
	}
	return fmt.Errorf("bus: dead letters have been unavailable since %s: %w", k.since.Format(time.RFC3339), k.err)
}

// hold takes a letter whose event no broker takes back: it is written now, or later where the store is away, or lost and counted
// where too many wait, or the keeper is closed: of a handler that Close has left behind. It does not wait while the store is known to
// be away.
func (k *keeper) hold(ctx context.Context, l deadletter.Letter) (kept bool) {
	if k.away() == nil && k.put(ctx, l) == nil {
		return true
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed || len(k.waiting) >= maxBuffered || k.bytes+len(l.Body) > maxBufferedBytes {
		k.lost++
		k.note("dead letters lost", slog.LevelError, "dead letters lost: their store is away, and too many wait, or the bus is closed",
			"event_id", l.EventID, "subscription", l.Subscription, "lost", k.lost)
		return false
	}
	k.waiting = append(k.waiting, l)
	k.bytes += len(l.Body)
	if len(k.waiting) == 1 {
		select {
		case k.wake <- struct{}{}:
		default:
		}
	}
	return true
}

// run writes what waits, with a try each second while the store is away.
func (k *keeper) run() {
	defer close(k.done)
	t := time.NewTimer(keepEvery)
	t.Stop() // until something waits
	defer t.Stop()
	for {
		select {
		case <-k.stop:
			k.flush()
			return
		case <-k.wake:
			t.Reset(keepEvery)
		case <-t.C:
			if !k.flush() {
				t.Reset(keepEvery)
			}
		}
	}
}

// flush writes what waits until a write fails, and reports whether nothing waits any more.
func (k *keeper) flush() bool {
	for {
		k.mu.Lock()
		batch := k.waiting[:min(len(k.waiting), keepBatch)]
		k.mu.Unlock()
		if len(batch) == 0 {
			return true
		}
		if k.put(k.ctx, batch...) != nil {
			return false
		}
		k.mu.Lock()
		for i := range batch {
			k.bytes -= len(batch[i].Body)
		}
		k.waiting = k.waiting[len(batch):]
		k.mu.Unlock()
	}
}

// close writes what waits until ctx ends, counts the rest as lost, and closes the store where it is the keeper's own.
func (k *keeper) close(ctx context.Context) error {
	close(k.stop)
	stop := context.AfterFunc(ctx, k.end)
	<-k.done // a write returns soon after its context's end
	stop()
	k.end()
	k.mu.Lock()
	n := len(k.waiting)
	k.lost += int64(n)
	k.waiting, k.bytes, k.closed = nil, 0, true
	why := k.err // of a write that outlives the deadline, it changes
	k.mu.Unlock()
	var err error
	if n > 0 {
		err = fmt.Errorf("%d dead letters were lost, which their store did not take: %w", n, cmp.Or(why, context.Cause(ctx)))
	}
	if k.owned {
		err = cmp.Or(err, k.ask(k.store.Close))
	}
	return err
}

// DeadLetterStats say how dead letters fare. How many there are is what the store's own Stats say.
type DeadLetterStats struct {
	// Written were taken by the store.
	Written int64
	// Waiting are held in this process until the store works again.
	Waiting int64
	// Lost could not be written, and were more than may wait, or waited still when the bus was closed.
	Lost int64
	// Err is why the last write failed, and Since is when that began; nil while the store works.
	Err   error
	Since time.Time
}

func (k *keeper) stats() DeadLetterStats {
	if k == nil {
		return DeadLetterStats{}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	st := DeadLetterStats{Written: k.written, Waiting: int64(len(k.waiting)), Lost: k.lost, Err: k.err}
	if k.err != nil {
		st.Since = k.since
	}
	return st
}
