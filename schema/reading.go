package schema

import (
	"math"
	"time"
)

// A Reading is what [Decode] finds in the bytes that an event was encoded to, for whoever has written them: where they
// never leave the process, scanning them again says nothing new. It holds none of those bytes, is never changed, and is
// safe for concurrent use.
type Reading struct {
	id, typ, source, subject, actor, resource string
	time                                      time.Time
	size                                      int32 // of the body
	data, metadata                            int32 // how long they are in it
	priority                                  Priority
}

const (
	beforeMetadata = `,"metadata":`
	emptyObject    = "{}"
)

// Reading returns the reading of body, which is what AppendJSON has made of e, after e has passed Validate. ok is false
// where only Decode knows: of an event that came with more than an Event's fields show.
func (e *Event) Reading(body []byte) (r Reading, ok bool) {
	if e.wire != nil || e.err != nil || len(body) > math.MaxInt32 {
		return Reading{}, false
	}
	return Reading{
		id: e.ID, typ: e.Type, source: e.Source, subject: e.Subject, actor: e.Actor, resource: e.Resource,
		time: e.Time.UTC(), priority: e.Priority, size: int32(len(body)),
		data: int32(max(len(e.Data), len(emptyObject))), metadata: int32(max(len(e.Metadata.raw), len(emptyObject))),
	}, true
}

// Decode sets e, which is the zero Event, to what [Decode] returns for b, which is a copy of the body that the reading was
// made of, without its cost: the event's Data and Metadata are parts of b. A body of another length is decoded. Where it
// returns an error, e is as it was.
func (r *Reading) Decode(e *Event, b []byte, maxBytes int) (err error) {
	if len(b) != int(r.size) || len(b) > limitOr(maxBytes) {
		*e, err = Decode(b, maxBytes)
		return err
	}
	e.ID, e.Type, e.Source = r.id, r.typ, r.source
	e.Subject, e.Actor, e.Resource = r.subject, r.actor, r.resource
	e.Time, e.Priority = r.time, r.priority
	metadataEnd := len(b) - len("}")
	metadata := metadataEnd - int(r.metadata)
	dataEnd := metadata - len(beforeMetadata)
	e.setData(b[dataEnd-int(r.data) : dataEnd])
	e.Metadata = metadataFrom(b[metadata:metadataEnd])
	return nil
}
