package bus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/router"
	"github.com/eventbus-go/eventbus/schema"
)

// The stages of publishing, in order. A stage's name is the Stage of an [EventError].
//
//	enrich     id, time, source, and what WithEnrich adds from the context
//	validate   the envelope, its size, forbidden names
//	route      rules -> channels
//	encode     the envelope, once, shared by all channels
//	pack       one message per event and channel
//	lane       bounded, ordered per key; Emit returns here
//	send       one pipelined batch per call of the driver; the only place that resends
//	account    per message: confirmed, dropped(reason) or rejected; Publish returns here
const (
	stageEnrich   = "enrich"
	stageValidate = "validate"
	stageRoute    = "route"
	stageEncode   = "encode"
	stageSend     = "send"
)

// A packed event is ready to be queued. Its body lies in its packer.
type packed struct {
	id, typ, key string
	channels     []string
	when         time.Time
	priority     schema.Priority
	keyInBody    bool
	rest         *messageRest
	reading      *schema.Reading
	start, end   int
	index        int // of the event in the call
	exit         int // of the bus
	slot         int // of the first channel in the call that waits
}

// fill sets what an entry, which is empty, has of the event.
func (p *packed) fill(e *entry) {
	e.id, e.typ, e.key, e.channels, e.when = p.id, p.typ, p.key, p.channels, p.when
	e.priority, e.keyInBody, e.rest, e.reading = p.priority, p.keyInBody, p.rest, p.reading
}

// A packer is the scratch memory of one call: bodies are encoded into it and copied into a lane under its lock, so that the
// lock is held for a copy and not for an encoding.
type packer struct {
	ids    schema.IDSource
	buf    []byte
	packed []packed
	last   routed

	readings []schema.Reading // they are cut out of it

	packOnly bool    // nothing is sent by the call
	traces   []trace // what is to be told of the outcome
}

// A routed is the answer of the router for one kind of event.
type routed struct {
	typ, source string
	priority    schema.Priority
	route       *router.Route
	to          []Destination // what a tracer is told of the route; nil where none was
}

// route asks the router, unless the event is of the kind that it was asked for last: most callers emit one kind, and
// comparing it costs less than hashing it.
func (p *packer) route(r *router.Router, e *schema.Event) (*router.Route, error) {
	if l := &p.last; l.route != nil && l.typ == e.Type && l.source == e.Source && l.priority == e.Priority {
		return l.route, nil
	}
	route, err := r.Route(e.Type, e.Source, e.Priority)
	if err == nil {
		p.last = routed{typ: e.Type, source: e.Source, priority: e.Priority, route: route}
	}
	return route, err
}

// packerPool reuses packers. A packer that one huge event has grown is not kept. What else a packer held is overwritten by the
// next call, or goes with the packer when the garbage collector empties the pool.
type packerPool struct{ pool sync.Pool }

const (
	packerKeepBytes  = 256 << 10
	packerKeepEvents = 16
)

func (pp *packerPool) get() *packer {
	if p, ok := pp.pool.Get().(*packer); ok {
		return p
	}
	return &packer{}
}

func (pp *packerPool) put(p *packer) {
	if cap(p.buf) > packerKeepBytes {
		return
	}
	if len(p.packed) > packerKeepEvents {
		clear(p.packed)
	}
	p.buf, p.packed = p.buf[:0], p.packed[:0]
	pp.pool.Put(p)
}

func (p *packer) body(ev *packed) []byte { return p.buf[ev.start:ev.end:ev.end] }

// pack takes events through the pure stages. Where one of them is refused, none is packed.
func (b *Bus) pack(ctx context.Context, p *packer, events []schema.Event) error {
	if b.closed.Load() {
		return ErrClosed
	}
	for i := range events {
		if stage, err := b.packOne(ctx, p, events[i], i); err != nil {
			return &EventError{Stage: stage, Index: i, Type: events[i].Type, Err: err}
		}
	}
	return nil
}

func (b *Bus) packOne(ctx context.Context, p *packer, e schema.Event, index int) (stage string, err error) {
	if err := b.enrich(ctx, p, &e); err != nil {
		return stageEnrich, err
	}
	if err := e.Validate(b.forbidden); err != nil {
		return stageValidate, err
	}
	route, err := p.route(b.router, &e)
	if err != nil {
		return stageRoute, err
	}
	var rest *messageRest
	if b.tracer != nil {
		if rest, err = b.trace(ctx, p, &e, route, index); err != nil {
			return stageEnrich, err
		}
	}
	start := len(p.buf)
	reading, err := p.encode(&e, b.readings)
	if err != nil {
		return stageEncode, err
	}
	if n := len(p.buf) - start; n > b.limits.MaxEventBytes {
		p.buf = p.buf[:start]
		return stageEncode, tooLarge(n, b.limits.MaxEventBytes)
	}
	key := e.Key()
	inBody := key == cmp.Or(e.Subject, e.ID)
	for i := range route.Legs {
		leg := &route.Legs[i]
		p.packed = append(p.packed, packed{
			id: e.ID, typ: e.Type, key: key, channels: leg.Channels, when: e.Time, priority: e.Priority,
			keyInBody: inBody, rest: rest, reading: reading, start: start, end: len(p.buf), index: index, exit: leg.Exit,
		})
	}
	return "", nil
}

func tooLarge(n, limit int) error {
	return fmt.Errorf("the event is %d bytes, and max_event_bytes is %d: publish a reference to large data, or raise the limit", n, limit)
}

// enrich fills in what the caller left out.
func (b *Bus) enrich(ctx context.Context, p *packer, e *schema.Event) error {
	var now time.Time
	if e.ID == "" || e.Time.IsZero() {
		now = time.Now()
	}
	if e.ID == "" {
		e.ID = p.ids.NextAt(now)
	}
	if e.Time.IsZero() {
		e.Time = now
	}
	if e.Source == "" {
		e.Source = b.source
	}
	if b.enricher == nil {
		return nil
	}
	enriched := *e // the caller's enricher may keep a pointer to it
	if err := b.contain("enrich", func() { b.enricher(ctx, &enriched) }); err != nil {
		return err
	}
	*e = enriched
	return nil
}

// take packs messages as they are, for Send.
func (b *Bus) take(p *packer, msgs []brokers.Message) error {
	for i := range msgs {
		m := &msgs[i]
		exit, err := b.exitOf(m)
		if err = cmp.Or(checkMessage(m, b.limits.MaxEventBytes), err); err != nil {
			return &EventError{Stage: stageSend, Index: i, Type: m.Type, Err: err}
		}
		start := len(p.buf)
		p.buf = append(p.buf, m.Body...)
		ev := packed{
			id: m.ID, typ: m.Type, key: m.Key, channels: []string{m.Channel}, when: m.Time,
			priority: schema.Priority(m.Priority), keyInBody: m.KeyInBody, start: start, end: len(p.buf),
			index: i, exit: exit,
		}
		if len(m.Headers) > 0 || !m.NotBefore.IsZero() {
			ev.rest = &messageRest{headers: m.Headers, notBefore: m.NotBefore}
		}
		if ev.key == "" {
			ev.key = m.ID
		}
		p.packed = append(p.packed, ev)
	}
	return nil
}

// checkMessage refuses what a driver should never see.
func checkMessage(m *brokers.Message, maxBytes int) error {
	switch {
	case m.ID == "":
		return errors.New("the message has no ID")
	case !schema.Priority(m.Priority).Valid():
		return fmt.Errorf("%v is not a priority", schema.Priority(m.Priority))
	case len(m.Body) > maxBytes:
		return tooLarge(len(m.Body), maxBytes)
	}
	return cmp.Or(brokers.CheckHeaders(m.Headers), brokers.CheckChannel(m.Channel))
}

// setSlots numbers the messages of the packed events, one for each of their channels, and returns how many there are.
func (p *packer) setSlots() int {
	n := 0
	for i := range p.packed {
		p.packed[i].slot = n
		n += len(p.packed[i].channels)
	}
	return n
}

// messages returns what is packed as messages that own their memory, for Pack.
func (b *Bus) messages(p *packer) []brokers.Message {
	var msgs []brokers.Message
	for i := range p.packed {
		ev := &p.packed[i]
		for _, channel := range ev.channels {
			m := brokers.Message{
				Broker: b.exits[ev.exit].link.tag,
				ID:     ev.id, Type: ev.typ, Channel: channel, Key: ev.key, Priority: int8(ev.priority),
				KeyInBody: ev.keyInBody, Time: ev.when, Body: p.body(ev),
			}
			if ev.rest != nil {
				m.Headers = slices.Clone(ev.rest.headers)
			}
			msgs = append(msgs, m)
		}
	}
	return msgs
}
