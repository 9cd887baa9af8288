package bus

import (
	"slices"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/schema"
)

// What a broker in the process delivers was encoded in this process: its messages carry the reading of their body, so that
// no subscription has to decode it. A body from anywhere else, or of a Send, has none and is decoded.

// readingsInBlock is how many readings share an allocation, so that who keeps one keeps 4 KiB.
const readingsInBlock = 30

// keepsReadings reports whether readings are of use. Not beside a tracer, which has the event after it was checked:
// only decoding finds out what it has done to it.
func (b *Bus) keepsReadings() bool {
	return b.tracer == nil && slices.ContainsFunc(b.links, func(l *link) bool { return l.local })
}

// read returns the reading of an event's body, or nil where there is none.
func (p *packer) read(e *schema.Event, body []byte) *schema.Reading {
	r, ok := e.Reading(body)
	if !ok {
		return nil
	}
	if len(p.readings) == cap(p.readings) {
		p.readings = make([]schema.Reading, 0, readingsInBlock) // the old block lives as long as one of its readings
	}
	p.readings = append(p.readings, r)
	return &p.readings[len(p.readings)-1]
}

// decode sets e, which is empty, to the event of a delivery.
func (b *Bus) decode(e *schema.Event, d *brokers.Delivery) (err error) {
	if r, ok := d.Reading.(*schema.Reading); ok {
		return r.Decode(e, d.Body, b.limits.MaxEventBytes)
	}
	*e, err = schema.Decode(d.Body, b.limits.MaxEventBytes)
	return err
}
