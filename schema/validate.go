package schema

import "fmt"

// A FieldError says what is wrong with one field of an event that is about to be published.
type FieldError struct {
	Type    string // the event's type
	Field   string // the field's name on the wire, such as "event_id"
	Problem string // what is wrong, and the remedy

	err error // the cause, where there is one
}

// Error names the event's type and the field, and says what is wrong with it.
func (e *FieldError) Error() string {
	return fmt.Sprintf("schema: event of type %.200q: %s %s", e.Type, e.Field, e.Problem)
}

// Validate reports the first thing for which e must not be published: a *FieldError that names the field and the
// remedy, or the error that [Type.New] kept.
//
// It wants an ID and a Source of 1 to [MaxNameLen] bytes without control characters, a Type that is a name, a known
// Priority, a Time whose year has four digits, strings in UTF-8, Data that is a JSON object no more than [MaxDepth]
// deep (the envelope counted) without a key twice, and no key in Metadata, or in Data that was not made by a [Type],
// that f forbids. A nil f forbids nothing. Data that was decoded, or made by a Type, has been checked and is not looked
// at again.
func (e *Event) Validate(f *Forbidden) error {
	if e.err != nil {
		return e.err
	}
	if fault := e.checkStrings(); fault != nil {
		return fault
	}
	if !e.Priority.Valid() {
		return e.fault("priority", "is unknown, use schema.Low, Normal, High or Critical")
	}
	if !e.foreignTime() {
		if e.Time.IsZero() {
			return e.fault("timestamp", "is the zero time, set Event.Time")
		}
		if year := e.Time.UTC().Year(); year < 0 || year > 9999 {
			return e.fault("timestamp", "has a year outside of 0 to 9999, which RFC 3339 cannot write")
		}
	}
	if err := e.checkData(f); err != nil {
		return err
	}
	if word, path, found := f.findIn(e.Metadata.raw); found {
		return e.fault("metadata", forbiddenProblem(path, word))
	}
	return nil
}

// Unwrap returns the error of the codec or of the payload's own methods, or nil.
func (e *FieldError) Unwrap() error { return e.err }

// checkStrings reports the first string of e that is not what it has to be.
func (e *Event) checkStrings() *FieldError {
	if problem := checkID(e.ID); problem != "" {
		return e.fault("event_id", problem+", use schema.NewID or any id without control characters")
	}
	if problem := checkType(e.Type); problem != "" {
		return e.fault("event_type", problem)
	}
	if problem := checkID(e.Source); problem != "" {
		return e.fault("source", problem+", name the publishing service")
	}
	for _, c := range [...]struct{ field, text string }{
		{"subject", e.Subject}, {"actor", e.Actor}, {"resource", e.Resource},
	} {
		if problem := checkText(c.text); problem != "" {
			return e.fault(c.field, problem)
		}
	}
	return nil
}

// dataDepth is how many braces are open around data: the envelope's.
const dataDepth = 1

// checkData checks Data that somebody has put there by hand.
func (e *Event) checkData(f *Forbidden) error {
	if len(e.Data) == 0 || e.dataChecked() {
		return nil
	}
	var keys keyList
	end, fault := skipValue(e.Data, 0, dataDepth, &keys)
	switch {
	case fault != nil:
		return e.fault("data", fmt.Sprintf("cannot be published: at byte %d: %s", fault.Offset, fault.Msg))
	case e.Data[0] != '{':
		return e.fault("data", "is "+kindOf(e.Data[0])+", it has to be an object")
	case end != len(e.Data):
		return e.fault("data", "is followed by something else")
	}
	if keys.allowed(e.Data, f) {
		return nil
	}
	if hasKeyTwice(e.Data) {
		return e.fault("data", "has a key twice")
	}
	if word, path, found := f.findIn(e.Data); found {
		return e.fault("data", forbiddenProblem(path, word))
	}
	return nil
}

// setData sets data that is known to be right.
func (e *Event) setData(data []byte) {
	e.Data = data[:len(data):len(data)] // so that appending to it copies it
	e.checked, e.checkedLen = &data[0], len(data)
}

// dataChecked reports whether Data is still what setData was given.
func (e *Event) dataChecked() bool {
	return len(e.Data) > 0 && &e.Data[0] == e.checked && len(e.Data) == e.checkedLen
}

// forbiddenProblem says that a key must not be in an event.
func forbiddenProblem(key, word string) string {
	return fmt.Sprintf("has the key %.100q, which names a %s: secrets do not belong in events, leave it out", key, word)
}
