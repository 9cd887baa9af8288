package schema

import "strings"

// Most envelopes have been written by Encode. Those are read here, in half of the time that the decoder takes; whatever
// differs from them in a byte of the layout is left to the decoder, from the beginning, and so is every error.
// FuzzOwnLayout holds both to the same events.

// decodeOwn sets e to what an envelope in the layout of Encode says: all keys in the order of the contract, no others,
// no white space, nothing escaped outside of data and metadata. ok is false, and e is as it was, for any other bytes.
func decodeOwn(b []byte, e *Event) (ok bool) {
	r := ownReader{b: b}
	id := r.after(`{"event_id":"`).text()
	eventType := r.after(`,"event_type":"`).text()
	at := r.after(`,"timestamp":"`).text()
	source := r.after(`,"source":"`).text()
	priority, known := priorityOf(r.after(`,"priority":"`).text())
	subject := r.after(`,"subject":`).reference()
	actor := r.after(`,"actor":`).reference()
	resource := r.after(`,"resource":`).reference()
	data := r.after(`,"data":`).object()
	metadata := r.after(`,"metadata":`).object()
	if !known || r.i != len(b)-1 || b[r.i] != '}' || !lengthIsOfName(id) || !lengthIsOfName(source) {
		return false
	}
	t, canonical, ok := parseTime(at)
	if !ok || !canonical {
		return false
	}
	var all strings.Builder // one copy for all strings
	all.Grow(len(id) + len(eventType) + len(source) + len(subject) + len(actor) + len(resource))
	typeText := addText(&all, eventType)
	if checkType(typeText) != "" {
		return false
	}
	e.ID, e.Type, e.Source = addText(&all, id), typeText, addText(&all, source)
	e.Subject, e.Actor, e.Resource = addText(&all, subject), addText(&all, actor), addText(&all, resource)
	e.Time, e.Priority = t, priority
	e.setData(data)
	e.Metadata = metadataFrom(metadata)
	return true
}

// addText appends text to all and returns the copy.
func addText(all *strings.Builder, text []byte) string {
	start := all.Len()
	all.Write(text)
	return all.String()[start:]
}

// lengthIsOfName is what checkID wants of a text without control characters.
func lengthIsOfName(text []byte) bool { return 0 < len(text) && len(text) <= MaxNameLen }

// An ownReader walks over an envelope in the layout of Encode. Where something else comes it goes to the end, where
// nothing follows that it could read.
type ownReader struct {
	b []byte
	i int
}

// after walks over want. It is inlined, so that want is a constant, which is compared in words.
func (r *ownReader) after(want string) *ownReader {
	if end := r.i + len(want); end <= len(r.b) && string(r.b[r.i:end]) == want {
		r.i = end
		return r
	}
	r.i = len(r.b)
	return r
}

// text walks over a text and its closing quote.
func (r *ownReader) text() []byte {
	start := r.i
	end := skipPlain(r.b, start)
	if end >= len(r.b) || r.b[end] != '"' {
		r.i = len(r.b)
		return nil
	}
	r.i = end + 1
	return r.b[start:end]
}

// reference walks over a text with its quotes, or over null, which is "".
func (r *ownReader) reference() []byte {
	if r.i < len(r.b) && r.b[r.i] == '"' {
		r.i++
		return r.text()
	}
	r.after("null")
	return nil
}

// object walks over an object.
func (r *ownReader) object() []byte {
	start := r.i
	if start < len(r.b) && r.b[start] == '{' {
		if end, err := skipObject(r.b, start, dataDepth, nil); err == nil {
			r.i = end
			return r.b[start:end]
		}
	}
	r.i = len(r.b)
	return nil
}
