package schema

import (
	"math"
	"time"
	"unsafe"
)

// A Reading is where [Decode] finds what in the bytes that an event was encoded to, for whoever has written them: where
// they never leave the process, scanning them again says nothing new. It holds none of those bytes and no pointer, is
// never changed, and is safe for concurrent use.
type Reading struct {
	seconds int64 // since 1970
	nanos   int32
	size    int32 // of the body

	// how long they are in it
	data, metadata                            int32
	id, typ, source, subject, actor, resource uint16
	timestamp                                 uint8
	priority                                  Priority
}

// AppendRead is [Event.AppendJSON] for an event that has passed Validate, and sets r to the reading of what it appends. ok
// is false where only Decode knows: of an event that came with more than an Event's fields show, or whose strings are
// written with escape sequences.
func (e *Event) AppendRead(dst []byte, r *Reading) (out []byte, ok bool, err error) {
	w := writer{b: dst}
	if err := w.event(e); err != nil {
		return dst, false, err
	}
	size := len(w.b) - len(dst)
	longest := max(len(e.ID), len(e.Type), len(e.Source), len(e.Subject), len(e.Actor), len(e.Resource))
	if w.escaped || e.wire != nil || size > math.MaxInt32 || longest > math.MaxUint16 {
		return w.b, false, nil
	}
	*r = Reading{
		seconds: e.Time.Unix(), nanos: int32(e.Time.Nanosecond()), size: int32(size),
		data: int32(max(len(e.Data), len(emptyObject))), metadata: int32(max(len(e.Metadata.raw), len(emptyObject))),
		id: uint16(len(e.ID)), typ: uint16(len(e.Type)), source: uint16(len(e.Source)), subject: uint16(len(e.Subject)),
		actor: uint16(len(e.Actor)), resource: uint16(len(e.Resource)), timestamp: uint8(w.stamp), priority: e.Priority,
	}
	return w.b, true, nil
}

// Decode sets e, which is the zero Event, to what [Decode] returns for b, which is a copy of the body that the reading was
// made of, without its cost: all that the event holds are parts of b, its strings, too, so that b must never be modified. A
// body of another length is decoded. Where it returns an error, e is as it was.
func (r *Reading) Decode(e *Event, b []byte, maxBytes int) (err error) {
	if len(b) != int(r.size) || len(b) > limitOr(maxBytes) {
		*e, err = Decode(b, maxBytes)
		return err
	}
	c := cutter{b: b}
	e.ID = c.text(beforeID, r.id)
	e.Type = c.text(beforeType, r.typ)
	c.at += len(beforeTime) + int(r.timestamp) + len(`"`)
	e.Source = c.text(beforeSource, r.source)
	c.at += len(beforePriority) + len(r.priority.String())
	e.Subject = c.reference(beforeSubject, r.subject)
	e.Actor = c.reference(beforeActor, r.actor)
	e.Resource = c.reference(beforeResource, r.resource)
	e.Time, e.Priority = time.Unix(r.seconds, int64(r.nanos)).UTC(), r.priority
	e.setData(c.value(beforeData, r.data))
	e.Metadata = metadataFrom(c.value(beforeMetadata, r.metadata))
	return nil
}

// A cutter cuts values out of an envelope, from the first to the last.
type cutter struct {
	b  []byte
	at int
}

func (c *cutter) value(before string, n int32) []byte {
	start := c.at + len(before)
	c.at = start + int(n)
	return c.b[start:c.at]
}

func (c *cutter) text(before string, n uint16) string {
	text := c.value(before, int32(n)+2)
	return unsafe.String(&text[1], int(n))
}

func (c *cutter) reference(before string, n uint16) string {
	if n == 0 {
		c.at += len(before) + len("null")
		return ""
	}
	return c.text(before, n)
}
