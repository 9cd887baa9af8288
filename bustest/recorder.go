package bustest

import (
	"context"
	"log/slog"
	"slices"
	"sync"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/brokers/memory"
	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/schema"
)

// A Published is an event that a Recorder was given.
type Published struct {
	// Event is what a subscriber would see: encoded and decoded, with its id, time and source.
	Event schema.Event
	// Channels are those that the rules send it to, in their order.
	Channels []string
	// Waited is whether it came by Publish, which waits for the broker, and not by Emit.
	Waited bool
}

// A Recorder is a bus.Publisher that keeps what it is given, for a test to look at. It refuses what a bus refuses, by the
// same code: events that are invalid, have no route, or are too large. Its methods are safe for concurrent use.
type Recorder struct {
	tb  TB
	bus *bus.Bus

	mu             sync.Mutex
	published      []Published
	met            []bool // which of them an expectation has taken
	down           error
	refused        []error
	refusalsWanted bool
}

var _ bus.Publisher = (*Recorder)(nil)

// NewRecorder returns a recorder with the rules of the user service, unless bus.WithRules gives others. Brokers that rules name have
// to be there: bus.WithBroker("audit", memory.New()). It ends with the test.
func NewRecorder(tb TB, opts ...bus.Option) *Recorder {
	tb.Helper()
	quiet := bus.WithLogger(slog.New(slog.DiscardHandler)) // what is refused fails the test, or is wanted
	b, err := bus.New(tb.Context(), memory.New(), bus.Config{DeadLetters: bus.NoDeadLetters},
		append([]bus.Option{quiet}, opts...)...)
	if err != nil {
		tb.Errorf("bustest: the recorder's settings are refused: %v", err)
		return nil
	}
	r := &Recorder{tb: tb, bus: b}
	tb.Cleanup(func() { _ = b.Close(context.WithoutCancel(tb.Context())) }) // nothing is ever sent
	return r
}

// Emit implements [bus.Publisher]. Services ignore its error, so an event that is refused fails the test, unless
// [Recorder.AllowRefusals] was called.
func (r *Recorder) Emit(ctx context.Context, events ...schema.Event) error {
	r.tb.Helper()
	_, err := r.keep(ctx, events, false)
	return err
}

// Publish implements [bus.Publisher]. It returns at once; see [Recorder.Down] for how it fails.
func (r *Recorder) Publish(ctx context.Context, events ...schema.Event) error {
	r.tb.Helper()
	msgs, err := r.keep(ctx, events, true)
	if len(msgs) == 0 {
		return err
	}
	out := make([]bus.Outcome, len(msgs))
	for i, m := range msgs {
		out[i] = bus.Outcome{
			EventID: m.ID, EventType: m.Type, Channel: m.Channel, Broker: m.Broker, State: brokers.NotSent, Err: err,
		}
	}
	return &bus.PublishError{Outcomes: out}
}

// keep records events. Where they are not taken since the broker is down it returns their messages, and why it is down.
func (r *Recorder) keep(ctx context.Context, events []schema.Event, waited bool) ([]brokers.Message, error) {
	r.tb.Helper()
	msgs, err := r.bus.Pack(ctx, events...)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		r.refused = append(r.refused, err)
		if !r.refusalsWanted {
			r.tb.Errorf("bustest: an event was refused: %v", err)
		}
		return nil, err
	}
	if waited && r.down != nil && len(msgs) > 0 {
		return msgs, r.down
	}
	for i, m := range msgs {
		if i > 0 && m.ID == msgs[i-1].ID { // the same event, on another channel
			last := &r.published[len(r.published)-1]
			last.Channels = append(last.Channels, m.Channel)
			continue
		}
		e, err := schema.Decode(m.Body, len(m.Body))
		if err != nil {
			r.tb.Errorf("bustest: what was encoded cannot be decoded: %v", err)
			continue
		}
		r.published = append(r.published, Published{Event: e, Channels: []string{m.Channel}, Waited: waited})
		r.met = append(r.met, false)
	}
	return nil, nil
}

// Down makes Publish fail as it does while the broker is away: with a *bus.PublishError that has err as the reason for each
// event and channel. Emit goes on, as it always does. A nil err ends it.
func (r *Recorder) Down(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.down = err
}

// AllowRefusals lets the test go on where an event is refused, for tests that are about that; see [Recorder.Refused].
func (r *Recorder) AllowRefusals() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refusalsWanted = true
}

// Refused returns why calls were refused, in their order: each is a *bus.EventError.
func (r *Recorder) Refused() []error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.refused)
}

// Published returns all that was taken, in the order in which it came.
func (r *Recorder) Published() []Published {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.published)
}

// Reset forgets everything that was published and refused.
func (r *Recorder) Reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.published, r.met, r.refused = nil, nil, nil
}
