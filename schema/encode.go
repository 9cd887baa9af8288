package schema

// Encode returns the envelope of e as JSON: the keys of the contract in its order, then the members that a decoded
// event had beyond them. It returns the error of [Event.Validate] where e is not valid; what the catalogues forbid is
// not its business.
//
// Data, Metadata, a timestamp from elsewhere and unknown members are written as they came, byte for byte. Bytes that
// Encode returns are always accepted by [Decode], unless they are over its limit.
func Encode(e Event) ([]byte, error) {
	if err := e.Validate(nil); err != nil {
		return nil, err
	}
	return e.AppendJSON(make([]byte, 0, e.sizeHint()))
}

// MarshalJSON is [Encode]. Package encoding/json goes over what it returns, and escapes <, > and & in it.
func (e Event) MarshalJSON() ([]byte, error) { return Encode(e) }

// AppendJSON is [Encode] for publishers in a hurry: it appends to dst and does not allocate where dst has room. It
// trusts e: an event that did not pass [Event.Validate] may come out as bytes that nobody can read. Where it returns an
// error, it returns dst as it was.
func (e *Event) AppendJSON(dst []byte) ([]byte, error) {
	w := writer{b: dst}
	if err := w.event(e); err != nil {
		return dst, err
	}
	return w.b, nil
}

// event appends the envelope of e. Where it returns an error, what it has appended is to be dropped.
func (w *writer) event(e *Event) error {
	if e.err != nil {
		return e.err
	}
	w.text(beforeID, e.ID, keyID)
	w.text(beforeType, e.Type, keyType)
	w.time(beforeTime, e)
	w.text(beforeSource, e.Source, keySource)
	w.raw(beforePriority)
	w.priority(e.Priority)
	w.reference(beforeSubject, e.Subject, keySubject)
	w.reference(beforeActor, e.Actor, keyActor)
	w.reference(beforeResource, e.Resource, keyResource)
	w.raw(beforeData)
	w.b = appendData(w.b, e.Data)
	w.raw(beforeMetadata)
	w.b = e.Metadata.appendTo(w.b)
	if e.wire != nil {
		w.b = append(w.b, e.wire.extra...)
	}
	w.b = append(w.b, '}')
	if w.problem != "" {
		return e.fault(keyNames[w.bad], w.problem)
	}
	return nil
}

// What stands between the values of an envelope, as it is written.
const (
	beforeID       = `{"event_id":`
	beforeType     = `,"event_type":`
	beforeTime     = `,"timestamp":"`
	beforeSource   = `,"source":`
	beforePriority = `,"priority":"`
	beforeSubject  = `","subject":`
	beforeActor    = `,"actor":`
	beforeResource = `,"resource":`
	beforeData     = `,"data":`
	beforeMetadata = `,"metadata":`
	emptyObject    = "{}"
)

func appendData(dst, data []byte) []byte {
	if len(data) == 0 {
		return append(dst, emptyObject...)
	}
	return append(dst, data...)
}

// sizeHint returns how long the envelope of e is at most, unless its strings have to be escaped.
func (e *Event) sizeHint() int {
	const keysAndBraces = 200
	n := keysAndBraces + len(e.ID) + len(e.Type) + len(e.Source) + len(e.Subject) + len(e.Actor) + len(e.Resource) +
		len(e.Data) + len(e.Metadata.raw)
	if e.wire != nil {
		n += len(e.wire.timeText) + len(e.wire.extra)
	}
	return n
}

// A writer appends members and remembers which one went wrong.
type writer struct {
	b       []byte
	problem string
	bad     int
	escaped bool // a text is written with escape sequences
	stamp   int  // how long the timestamp is
}

func (w *writer) raw(s string) { w.b = append(w.b, s...) }

// text appends a member that is a string, after the bytes before.
func (w *writer) text(before, s string, key int) {
	var ok bool
	w.b = append(w.b, before...)
	start := len(w.b)
	if w.b, ok = appendString(w.b, s); !ok {
		w.problem, w.bad = "is not UTF-8", key
	}
	w.escaped = w.escaped || len(w.b) != start+len(s)+len(`""`)
}

// reference appends a member that is null where it is empty.
func (w *writer) reference(before, s string, key int) {
	if s == "" {
		w.b = append(append(w.b, before...), "null"...)
		return
	}
	w.text(before, s, key)
}

// time appends the timestamp, as it came where e.Time is still what the text said.
func (w *writer) time(before string, e *Event) {
	w.raw(before)
	start := len(w.b)
	if e.foreignTime() {
		w.raw(e.wire.timeText) // of the characters of RFC 3339: nothing to escape
	} else {
		var ok bool
		if w.b, ok = appendTime(w.b, e.Time); !ok {
			w.problem, w.bad = "has a year outside of 0 to 9999", keyTime
		}
	}
	w.stamp = len(w.b) - start
	w.raw(`"`)
}

// foreignTime reports whether e.Time came as a text that we would have written differently.
func (e *Event) foreignTime() bool {
	return e.wire != nil && e.wire.timeText != "" && e.Time.Equal(e.wire.time)
}

func (w *writer) priority(p Priority) {
	if !p.Valid() {
		w.problem, w.bad = "is unknown (low, normal, high, critical)", keyPriority
		return
	}
	w.raw(p.String())
}

// fault makes the error about a field of e, shown by its name on the wire.
func (e *Event) fault(field, problem string) *FieldError {
	return &FieldError{Type: e.Type, Field: field, Problem: problem}
}
