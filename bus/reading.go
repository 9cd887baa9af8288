package bus

import (
	"slices"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/schema"
)

// What a broker in the process delivers was encoded in this process: its messages carry the reading of their body, so that
// no subscription has to decode it. A body from anywhere else, or of a Send, has none and is decoded.

// readingsInBlock is how many readings share an allocation, so that who keeps one keeps 4 KiB.
const readingsInBlock = 100

// keepsReadings reports whether readings are of use. Not beside a tracer, which has the event after it was checked:
// only decoding finds out what it has done to it.
func (b *Bus) keepsReadings() bool {
	return b.tracer == nil && slices.ContainsFunc(b.links, func(l *link) bool { return l.local })
}

// encode appends the event's body to the packer's memory, and returns its reading where it is wanted and there is one.
func (p *packer) encode(e *schema.Event, readings bool) (r *schema.Reading, err error) {
	if !readings || p.packOnly {
		p.buf, err = e.AppendJSON(p.buf)
		return nil, err
	}
	n := len(p.readings)
	if n == cap(p.readings) {
		p.readings, n = make([]schema.Reading, 0, readingsInBlock), 0 // the old block lives as long as one of its readings
	}
	var ok bool
	if p.buf, ok, err = e.AppendRead(p.buf, &p.readings[:n+1][n]); !ok || err != nil {
		return nil, err
	}
	p.readings = p.readings[:n+1]
	return &p.readings[n], nil
}

// decode sets e, which is empty, to the event of a delivery. local says that it is one of a brokers.Local: whoever wraps one may have
// changed the body, and passed its reading on.
func (b *Bus) decode(e *schema.Event, d *brokers.Delivery, local bool) (err error) {
	if r, ok := d.Reading.(*schema.Reading); ok && local {
		return r.Decode(e, d.Body, b.limits.MaxEventBytes)
	}
	*e, err = schema.Decode(d.Body, b.limits.MaxEventBytes)
	return err
}
