package drivertest

import (
	"context"
	"sync"

	"github.com/eventbus-go/eventbus/brokers"
)

// A Recorder is a sink that settles what it gets, and keeps all it sees, in order. Block is set before it is used.
type Recorder struct {
	// Block, where there is one, holds up Deliver until it is closed.
	Block chan struct{}
	ctx   context.Context // of settling
	ready chan struct{}

	mu   sync.Mutex
	keep bool
	seen []any // brokers.Delivery and brokers.Gap
}

// NewRecorder returns a Recorder that has seen nothing, and settles with ctx.
func NewRecorder(ctx context.Context) *Recorder {
	return &Recorder{ctx: ctx, ready: make(chan struct{})}
}

// Ready implements brokers.Sink.
func (r *Recorder) Ready() { close(r.ready) }

// IsReady is closed by Ready.
func (r *Recorder) IsReady() <-chan struct{} { return r.ready }

// Gap implements brokers.Sink.
func (r *Recorder) Gap(g brokers.Gap) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen = append(r.seen, g)
}

// Deliver implements brokers.Sink.
func (r *Recorder) Deliver(batch []brokers.Delivery) {
	if r.Block != nil {
		<-r.Block
	}
	settled := r.settles()
	if settled {
		r.settle(batch)
	}
	if r.note(batch); !settled && r.settles() {
		r.settle(batch) // SettleAll was called meanwhile, and its caller may have looked before they were noted
	}
}

func (r *Recorder) settle(batch []brokers.Delivery) {
	for _, d := range batch {
		if d.Settler != nil {
			_ = d.Settler.Settle(r.ctx, []brokers.Settlement{{Token: d.Token}})
		}
	}
}

func (r *Recorder) note(batch []brokers.Delivery) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, d := range batch {
		r.seen = append(r.seen, d)
	}
}

func (r *Recorder) settles() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.keep
}

// SettleNothing has what comes from now on kept unsettled.
func (r *Recorder) SettleNothing() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.keep = true
}

// SettleAll has what comes from now on settled: whatever Deliveries does not have when it returns.
func (r *Recorder) SettleAll() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.keep = false
}

// Seen returns deliveries and gaps, in the order in which they came.
func (r *Recorder) Seen() []any {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]any(nil), r.seen...)
}

// Deliveries returns those that came.
func (r *Recorder) Deliveries() []brokers.Delivery { return only[brokers.Delivery](r) }

// Gaps returns those that were reported.
func (r *Recorder) Gaps() []brokers.Gap { return only[brokers.Gap](r) }

func only[T any](r *Recorder) []T {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []T
	for _, s := range r.seen {
		if v, ok := s.(T); ok {
			out = append(out, v)
		}
	}
	return out
}

// Has reports whether a body was delivered.
func (r *Recorder) Has(body string) bool {
	for _, d := range r.Deliveries() {
		if string(d.Body) == body {
			return true
		}
	}
	return false
}
