package schema

import "fmt"

// DefaultMaxBytes is the limit of [Decode] where it is given none: 1 MiB, which is also the greatest message that NATS
// and Kafka take unless they are configured otherwise.
const DefaultMaxBytes = 1 << 20

// maxUnknown is how many keys beyond those of the contract an envelope may have. It bounds the search for duplicates.
const maxUnknown = 64

// Decode reads an envelope of at most maxBytes bytes; 0 or less means [DefaultMaxBytes]. Its error is a *DecodeError.
//
// It is strict where an event could be read in two ways: keys are case-sensitive, a key twice is refused, and so are
// bytes that are not UTF-8, half surrogate pairs, nesting over [MaxDepth], and anything after the object. All of b is
// checked, data included, but data is not decoded, so that keys twice within data are found by [Type.Decode].
//
// It is lenient where older publishers differ: subject, actor, resource and metadata may be absent or null, and an
// empty subject, actor or resource is none. Timestamps may have any offset; Event.Time is in UTC.
//
// The event's Data and Metadata are parts of b, which must not be modified afterwards; its strings are copies. Decode
// allocates once for the strings, and once or twice more where the envelope has members that are not in the contract.
func Decode(b []byte, maxBytes int) (e Event, err error) {
	if maxBytes = limitOr(maxBytes); len(b) > maxBytes {
		msg := fmt.Sprintf("%d bytes, at most %d are allowed", len(b), maxBytes)
		return Event{}, &DecodeError{ReasonTooLarge, maxBytes, msg}
	}
	if decodeOwn(b, &e) {
		return e, nil
	}
	if fault := decodeAny(b, &e); fault != nil {
		return Event{}, fault
	}
	return e, nil
}

// limitOr returns the limit of a Decode that was given maxBytes.
func limitOr(maxBytes int) int {
	if maxBytes <= 0 {
		return DefaultMaxBytes
	}
	return maxBytes
}

// decodeAny sets e to what an envelope in any layout says.
func decodeAny(b []byte, e *Event) *DecodeError {
	d := decoder{b: b}
	if err := d.scan(); err != nil {
		return err
	}
	return d.fill(e)
}

// UnmarshalJSON is [Decode] of a copy of b.
func (e *Event) UnmarshalJSON(b []byte) error {
	got, err := Decode(append([]byte(nil), b...), len(b))
	if err != nil {
		return err
	}
	*e = got
	return nil
}

// A decoder is one pass over an envelope: scan finds the members and checks their kinds, fill makes the event of them.
type decoder struct {
	b       []byte
	seen    uint16         // bit i: key i was found
	values  [keyCount]span // by key; the zero span where it was not found, or was null
	unknown []member
}

// A member is a key that the contract does not know, with its value.
type member struct{ key, value span }

// scan walks over all of b.
func (d *decoder) scan() *DecodeError {
	i := skipSpace(d.b, 0)
	if i >= len(d.b) || d.b[i] != '{' {
		return syntaxFault(d.b, i, "an object")
	}
	i = skipSpace(d.b, i+1)
	last := i < len(d.b) && d.b[i] == '}'
	if last {
		i++
	}
	for !last {
		var key span
		var err *DecodeError
		if i, key, err = skipKey(d.b, i); err != nil {
			return err
		}
		if i, err = d.member(key, i); err != nil {
			return err
		}
		if i, last, err = skipComma(d.b, i, '}'); err != nil {
			return err
		}
	}
	if i = skipSpace(d.b, i); i < len(d.b) {
		return &DecodeError{ReasonTrailingBytes, i, "something follows the object"}
	}
	return d.missing()
}

// member walks over the value at i and files it under its key.
func (d *decoder) member(key span, i int) (int, *DecodeError) {
	k := keyOf(unquoted(d.b, key))
	value := span{start: i}
	var err *DecodeError
	if i < len(d.b) && d.b[i] == '"' {
		value.end, value.escaped, err = skipString(d.b, i)
	} else {
		value.end, err = skipValue(d.b, i, dataDepth, nil)
	}
	if err != nil {
		return i, err
	}
	if k == keyUnknown {
		return value.end, d.keep(member{key, value})
	}
	if d.seen&(1<<k) != 0 {
		return i, &DecodeError{ReasonDuplicateKey, key.start, fmt.Sprintf("%q is there twice", keyNames[k])}
	}
	d.seen |= 1 << k
	return value.end, d.file(k, value)
}

// file checks the kind of a value and keeps it.
func (d *decoder) file(k int, value span) *DecodeError {
	want, nullable := byte('"'), false
	switch k {
	case keySubject, keyActor, keyResource:
		nullable = true
	case keyData:
		want = '{'
	case keyMetadata:
		want, nullable = '{', true
	}
	switch c := d.b[value.start]; {
	case c == want:
		d.values[k] = value
	case c != 'n' || !nullable:
		return d.bad(k, value.start, "is "+kindOf(c)+", it has to be "+kindOf(want))
	}
	return nil
}

// keep keeps a member that the contract does not know.
func (d *decoder) keep(m member) *DecodeError {
	if len(d.unknown) == maxUnknown {
		return &DecodeError{ReasonTooLarge, m.key.start, fmt.Sprintf("more than %d unknown keys", maxUnknown)}
	}
	for _, other := range d.unknown {
		if sameText(d.b, other.key, m.key) {
			return &DecodeError{ReasonDuplicateKey, m.key.start, "an unknown key is there twice"}
		}
	}
	if d.unknown == nil {
		d.unknown = make([]member, 0, 8)
	}
	d.unknown = append(d.unknown, m)
	return nil
}

// missing reports the first key that has to be there and is not.
func (d *decoder) missing() *DecodeError {
	const required = 1<<keyID | 1<<keyType | 1<<keyTime | 1<<keySource | 1<<keyPriority | 1<<keyData
	if d.seen&required == required {
		return nil
	}
	for k, name := range keyNames {
		if required&(1<<k) != 0 && d.seen&(1<<k) == 0 {
			return &DecodeError{ReasonMissingField, len(d.b), fmt.Sprintf("%q is missing", name)}
		}
	}
	return nil
}

// bad makes the error about the value of a key.
func (d *decoder) bad(k, offset int, problem string) *DecodeError {
	return &DecodeError{ReasonBadField, offset, keyNames[k] + " " + problem}
}

// fill makes the event of the members that scan has found.
func (d *decoder) fill(e *Event) *DecodeError {
	if err := d.fillStrings(e); err != nil {
		return err
	}
	if err := d.fillPriority(e); err != nil {
		return err
	}
	timeText, err := d.fillTime(e)
	if err != nil {
		return err
	}
	data := d.values[keyData]
	e.setData(d.b[data.start:data.end])
	metadata := d.values[keyMetadata]
	e.Metadata = metadataFrom(d.b[metadata.start:metadata.end])
	if timeText != "" || len(d.unknown) > 0 {
		e.wire = &wireParts{timeText: timeText, time: e.Time, extra: d.extra()}
	}
	return nil
}

// fillStrings copies all strings at once, and cuts the copy.
func (d *decoder) fillStrings(e *Event) *DecodeError {
	var array [256]byte
	text := array[:0]
	var ends [keyResource + 1]int
	for k := range ends {
		if k != keyTime && k != keyPriority {
			text = d.appendText(text, k)
		}
		ends[k] = len(text)
	}
	all := string(text)
	e.ID = all[:ends[keyID]]
	e.Type = all[ends[keyID]:ends[keyType]]
	e.Source = all[ends[keyTime]:ends[keySource]]
	e.Subject = all[ends[keyPriority]:ends[keySubject]]
	e.Actor = all[ends[keySubject]:ends[keyActor]]
	e.Resource = all[ends[keyActor]:ends[keyResource]]
	if problem := checkID(e.ID); problem != "" {
		return d.bad(keyID, d.values[keyID].start, problem)
	}
	if problem := checkType(e.Type); problem != "" {
		return d.bad(keyType, d.values[keyType].start, problem)
	}
	if problem := checkID(e.Source); problem != "" {
		return d.bad(keySource, d.values[keySource].start, problem)
	}
	return nil
}

// appendText appends what the string under a key says; nothing where there is none.
func (d *decoder) appendText(dst []byte, k int) []byte {
	v := d.values[k]
	switch {
	case v.end == v.start:
		return dst
	case v.escaped:
		return appendText(dst, d.b[v.start+1:v.end-1])
	default:
		return append(dst, d.b[v.start+1:v.end-1]...)
	}
}

func (d *decoder) fillPriority(e *Event) *DecodeError {
	v := d.values[keyPriority]
	priority, ok := priorityOf(unquoted(d.b, v))
	if !ok {
		return d.bad(keyPriority, v.start, "is none of low, normal, high, critical")
	}
	e.Priority = priority
	return nil
}

// fillTime returns the timestamp as it came where we would write it differently.
func (d *decoder) fillTime(e *Event) (foreign string, err *DecodeError) {
	v := d.values[keyTime]
	text := unquoted(d.b, v)
	t, canonical, ok := parseTime(text)
	if !ok {
		return "", d.bad(keyTime, v.start, "is no time by RFC 3339, such as 2006-01-02T15:04:05Z")
	}
	e.Time = t
	if canonical {
		return "", nil
	}
	return string(text), nil
}

// extra returns the unknown members as Encode writes them: schema_version first, signature last, the others in the
// order in which they came.
func (d *decoder) extra() []byte {
	size := 0
	for _, m := range d.unknown {
		size += m.key.end - m.key.start + m.value.end - m.value.start + len(`,:`)
	}
	out := make([]byte, 0, size)
	for place := range 3 {
		for _, m := range d.unknown {
			if d.place(m.key) == place {
				out = append(out, ',')
				out = append(out, d.b[m.key.start:m.key.end]...)
				out = append(out, ':')
				out = append(out, d.b[m.value.start:m.value.end]...)
			}
		}
	}
	return out
}

// place says where an unknown member belongs: 0 at the beginning, 2 at the end.
func (d *decoder) place(key span) int {
	switch {
	case says(d.b, key, "schema_version"):
		return 0
	case says(d.b, key, "signature"):
		return 2
	default:
		return 1
	}
}
