package bus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/eventbus-go/eventbus/router"
	"github.com/eventbus-go/eventbus/router/middleware"
	"github.com/eventbus-go/eventbus/schema"
)

// A BatchHandler handles several events at once, never two of one key, and returns what became of each: nil where all are handled,
// else one error for each event, in their order, nil for those that are handled. An error means what it means of a [Handler]: each
// event is retried, dropped or dead-lettered by its own. A panic, and a result of another length, is an error of every event.
//
// Its context ends after the subscription's Timeout and has no event's attempt or [Origin]. It does not keep events beyond its
// return.
type BatchHandler func(ctx context.Context, events []schema.Event) []error

// BatchConfig says when the events that wait are handed to a [BatchHandler].
type BatchConfig struct {
	// MaxEvents is the most of a batch. Default DefaultBatchEvents.
	MaxEvents int
	// MaxWait is the longest that the first event of a batch waits for others. Default DefaultBatchWait. A batch is handed over
	// earlier when it is full, in a shutdown, and when everything else that is held waits for the keys of others. It waits for
	// longer only while Concurrency batches are being handled.
	MaxWait time.Duration
}

// The defaults of a BatchConfig's fields.
const (
	DefaultBatchEvents = 100
	DefaultBatchWait   = 50 * time.Millisecond
)

// maxBatchWorkers bounds Concurrency times Batch.MaxEvents: each event of a batch has a worker.
const maxBatchWorkers = 1 << 16

func (c BatchConfig) orDefaults() BatchConfig {
	return BatchConfig{cmp.Or(c.MaxEvents, DefaultBatchEvents), cmp.Or(c.MaxWait, DefaultBatchWait)}
}

// check looks at the settings; 0 is the default.
func (c BatchConfig) check(at string) error {
	var wait error
	if c.MaxWait != 0 {
		wait = inRange(at+"max_wait", c.MaxWait, time.Microsecond, time.Hour)
	}
	return cmp.Or(inRange(at+"max_events", c.MaxEvents, 0, 1<<14), wait)
}

// A batcher is the handler of a subscription with a BatchHandler. Each event comes through the chain on a worker of its own, so that
// retries, deduplication, dead letters and middleware are per event, and joins the batch that forms. The worker of the batch's first
// event waits for the others, runs the BatchHandler, and lets go of them.
//
// Batches form while others are handled: one that has waited for long enough goes on to fill up until it is its turn.
type batcher struct {
	c       *consumer
	handler BatchHandler
	config  BatchConfig
	turn    chan struct{} // has an element for each batch that is being handled
	around  []router.Middleware

	mu      sync.Mutex
	forming *batchOf
}

// A batchOf is one batch.
type batchOf struct {
	events []schema.Event // guarded by batcher.mu until it is handed over
	errs   []error
	enough chan struct{} // has an element when it need not wait any longer: it is full, or no other event can join for now
	done   chan struct{} // closed when errs are there
}

func newBatcher(c *consumer) *batcher {
	return &batcher{
		c: c, handler: c.sub.BatchHandler, config: c.sub.Batch,
		turn:   make(chan struct{}, c.sub.Concurrency),
		around: []router.Middleware{middleware.Timeout(c.sub.Timeout), middleware.Recover(c.panicked)},
	}
}

// handle adds an event to a batch, and returns its outcome.
func (b *batcher) handle(ctx context.Context, e schema.Event) error {
	batch, i := b.join(e)
	if b.c.sched.isCrowded() {
		b.nudge()
	}
	if i == 0 {
		b.lead(ctx, batch)
	} else {
		<-batch.done // its first event's worker sees to it, whatever happens
	}
	return batch.errs[i]
}

func (b *batcher) join(e schema.Event) (*batchOf, int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	batch := b.forming
	if batch == nil {
		batch = &batchOf{enough: make(chan struct{}, 1), done: make(chan struct{})}
		b.forming = batch
	}
	batch.events = append(batch.events, e)
	n := len(batch.events)
	if n == b.config.MaxEvents {
		b.forming = nil
		batch.hurry()
	}
	return batch, n - 1
}

// nudge has the batch that forms handed over now. Where none forms, the next one is not meant.
func (b *batcher) nudge() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.forming != nil {
		b.forming.hurry()
	}
}

func (batch *batchOf) hurry() {
	select {
	case batch.enough <- struct{}{}:
	default:
	}
}

// lead waits until a batch may be handed over, and does so.
func (b *batcher) lead(ctx context.Context, batch *batchOf) {
	t := time.NewTimer(b.config.MaxWait)
	defer t.Stop()
	select {
	case <-batch.enough:
	case <-t.C:
	case <-router.Draining(ctx):
	case <-ctx.Done():
	}
	select {
	case b.turn <- struct{}{}:
	case <-ctx.Done():
		b.close(batch)
		batch.end(context.Cause(ctx))
		return
	}
	b.close(batch)
	if ctx.Err() != nil { // both have come true: no handler begins then
		<-b.turn
		batch.end(context.Cause(ctx))
		return
	}
	b.run(batch)
}

// close lets no more events join.
func (b *batcher) close(batch *batchOf) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.forming == batch {
		b.forming = nil
	}
}

// end gives every event the same outcome.
func (batch *batchOf) end(err error) {
	batch.errs = make([]error, len(batch.events))
	for i := range batch.errs {
		batch.errs[i] = err
	}
	close(batch.done)
}

// run calls the handler. It keeps its turn for as long as a handler may take: one that is given up later makes room for others.
func (b *batcher) run(batch *batchOf) {
	release := sync.OnceFunc(func() { <-b.turn })
	defer release()
	if b.c.bound > 0 {
		defer time.AfterFunc(b.c.sub.Stuck.bound(b.c.sub.Timeout), release).Stop()
	}
	var errs []error
	err := errGoexit
	defer func() { // also where the handler ends the goroutine
		if err == nil {
			err = wrongLength(len(batch.events), errs)
		}
		if err != nil || len(errs) == 0 {
			batch.end(err)
			return
		}
		batch.errs = errs
		close(batch.done)
	}()
	call := func(ctx context.Context, _ schema.Event) error {
		errs = b.handler(ctx, batch.events)
		return nil
	}
	err = router.Chain(call, b.around...)(b.c.ctx, schema.Event{})
}

// batchBound is how long an event of a batch may take: until it is its turn, and then as any other.
func batchBound(bound time.Duration, c BatchConfig) time.Duration {
	if bound <= 0 {
		return 0
	}
	return 2*bound + c.MaxWait
}

// isCrowded reports whether nothing is ready, and something waits for its key.
func (s *scheduler) isCrowded() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.behind > 0 && s.ready.empty()
}

// checkBatch reports what contradicts itself in a subscription with a BatchHandler, and one without that has settings for it.
func (s *Subscription) checkBatch() error {
	if s.BatchHandler == nil {
		if s.Batch != (BatchConfig{}) {
			return errors.New("there are settings for batches, and no BatchHandler: set one, or remove them")
		}
		return nil
	}
	if err := s.Batch.check("Batch: "); err != nil {
		return err
	}
	if n := s.Batch.orDefaults().MaxEvents * cmp.Or(s.Concurrency, DefaultConcurrency); n > maxBatchWorkers {
		return fmt.Errorf("the product of Concurrency and Batch.MaxEvents is %d: it goes up to %d", n, maxBatchWorkers)
	}
	return nil
}

// wrongLength is the error of a result that does not say what became of each event, or nil.
func wrongLength(events int, errs []error) error {
	if len(errs) == 0 || len(errs) == events {
		return nil
	}
	return fmt.Errorf("the BatchHandler returned %d errors for %d events: return one for each, or nil", len(errs), events)
}
