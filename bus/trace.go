package bus

import (
	"context"
	"errors"
	"slices"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/router"
	"github.com/eventbus-go/eventbus/schema"
)

// A Tracer follows events on their way out; on their way in a middleware does. Package observe/otel has both. Its
// method is safe for concurrent use.
type Tracer interface {
	// Sending is told of each event of a Publish, Emit or Pack, on the caller's goroutine, once it is valid and has a
	// route. It may add to the event's metadata, and returns headers for the brokers that carry some. end, unless it is
	// nil, is called once: when the outcome is known for Publish, when the event is queued for Emit, and when it is
	// packed for Pack.
	//
	// A panic is contained, and the event refused.
	Sending(ctx context.Context, e *schema.Event, s Sending) (headers []brokers.Header, end func(err error))
}

// A Sending says what is being done with an event.
type Sending struct {
	// Packed says that the event is not sent by this call, but by a [Bus.Send] of what Pack returns.
	Packed bool
	// To is where the rules send it. Events share it: it is not to be changed.
	To []Destination
}

// A Destination is a channel on a broker.
type Destination struct {
	// Broker is its name, where the bus has several, and Scheme that of its URL, empty where the bus was given the
	// connection.
	Broker, Scheme string
	Channel        string
}

// WithTracer has a tracer told of every event that is published. Without one nothing is paid for it.
func WithTracer(t Tracer) Option { return func(o *options) { o.tracer = t } }

// trace tells the tracer of an event, which has the given route.
func (b *Bus) trace(ctx context.Context, p *packer, e *schema.Event, route *router.Route, index int) (*messageRest, error) {
	s := Sending{Packed: p.packOnly, To: b.destinations(p, route)}
	traced := *e // the tracer may keep a pointer to it
	var headers []brokers.Header
	var end func(error)
	if err := b.contain("tracer", func() { headers, end = b.tracer.Sending(ctx, &traced, s) }); err != nil {
		return nil, err
	}
	*e = traced
	if end != nil {
		p.traces = append(p.traces, trace{index, e.ID, end})
	}
	if len(headers) == 0 {
		return nil, nil
	}
	return &messageRest{headers: headers}, nil
}

// destinations are where a route leads, as a tracer is told of it.
func (b *Bus) destinations(p *packer, route *router.Route) (to []Destination) {
	if l := &p.last; l.route == route && l.to != nil {
		return l.to
	}
	for i := range route.Legs {
		leg := &route.Legs[i]
		l := b.exits[leg.Exit].link
		for _, channel := range leg.Channels {
			to = append(to, Destination{Broker: l.tag, Scheme: l.known(), Channel: channel})
		}
	}
	if p.last.route == route {
		p.last.to = slices.Clip(to)
	}
	return to
}

// A trace is what is to be called when the outcome of an event of a call is known.
type trace struct {
	index int
	id    string
	end   func(error)
}

// endTraces tells of the outcome of a call.
func (b *Bus) endTraces(p *packer, err error) {
	if len(p.traces) > 0 {
		b.tellOutcome(p, err)
	}
}

func (b *Bus) tellOutcome(p *packer, err error) {
	for _, t := range p.traces {
		_ = b.contain("tracer", func() { t.end(t.outcome(err)) })
	}
	clear(p.traces)
	p.traces = p.traces[:0]
}

// outcome is what the error of a call says of one event.
func (t *trace) outcome(err error) error {
	if err == nil {
		return nil
	}
	failed := new(PublishError)
	if !errors.As(err, &failed) {
		return err
	}
	var errs []error
	for _, o := range failed.Outcomes {
		if o.EventID == t.id && o.State != brokers.Confirmed {
			errs = append(errs, o.Err)
		}
	}
	return errors.Join(errs...)
}
