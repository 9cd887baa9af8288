package deadletter

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
)

// This file is what goes on while a batch is sent: the next page is read, and the batch before is removed.

// A reader reads one page while the one before is worked on.
type reader struct {
	pages  chan []Letter // closed at the end
	err    error         // once pages is closed
	cancel context.CancelFunc
}

// readAhead begins to read the letters of q, until its stop.
func readAhead(ctx context.Context, s Store, q Query) *reader {
	r := &reader{pages: make(chan []Letter)}
	ctx, r.cancel = context.WithCancel(ctx)
	go func() {
		defer close(r.pages)
		for page, err := range pages(ctx, s, q) {
			if err != nil {
				r.err = err
				return
			}
			select {
			case r.pages <- page:
			case <-ctx.Done():
				r.err = context.Cause(ctx)
				return
			}
		}
	}()
	return r
}

// stop ends the reading, and waits for that.
func (r *reader) stop() {
	r.cancel()
	for range r.pages { // what was read for nothing
	}
}

// A remover removes one batch while the next one is sent.
type remover struct {
	batches chan []Letter
	done    chan struct{}
	failed  atomic.Pointer[error] // the first failure
}

func newRemover(ctx context.Context, s Store) *remover {
	r := &remover{batches: make(chan []Letter), done: make(chan struct{})}
	go func() {
		defer close(r.done)
		for batch := range r.batches {
			if r.failed.Load() != nil {
				continue // it stays, and is sent again
			}
			if _, err := s.Remove(ctx, batch...); err != nil {
				r.failed.Store(&err)
			}
		}
	}()
	return r
}

// errNotRemoved ends a redrive whose finish says why.
var errNotRemoved = errors.New("redrive: letters that were sent are not removed")

// remove hands a batch over, once the one before is removed, and reports whether removing has worked so far.
func (r *remover) remove(batch []Letter) bool {
	r.batches <- batch
	return r.failed.Load() == nil
}

// finish waits until all batches are removed, and says why some are not.
func (r *remover) finish() error {
	close(r.batches)
	<-r.done
	if err := r.failed.Load(); err != nil {
		return fmt.Errorf("%w, and will be sent again: %w", errNotRemoved, *err)
	}
	return nil
}
