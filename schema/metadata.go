package schema

import (
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
)

// Metadata is the context of an event: a JSON object whose members keep their order, and whose bytes are kept as they
// came. The zero value is an empty object.
//
// Metadata is a value: a copy may be changed without changing the original. It is safe for concurrent reading.
type Metadata struct {
	raw []byte // a valid object, never modified; empty means {}
}

// metadataFrom keeps raw, which is an object that is known to be right, or nothing.
func metadataFrom(raw []byte) Metadata {
	if len(raw) <= len(emptyObject) {
		return Metadata{}
	}
	return Metadata{raw: raw[:len(raw):len(raw)]}
}

// MetadataOf makes metadata of a map, with its keys sorted. Its error names the key whose value has no JSON.
func MetadataOf(values map[string]any) (Metadata, error) {
	var m Metadata
	for _, key := range slices.Sorted(maps.Keys(values)) {
		if err := m.Set(key, values[key]); err != nil {
			return Metadata{}, err
		}
	}
	return m, nil
}

// Get returns the value of a key as JSON, which the caller does not modify. Where metadata from elsewhere has a key
// twice, the last one counts, as it does for the JSON parsers of other languages.
func (m Metadata) Get(key string) (value json.RawMessage, ok bool) {
	if s, ok := m.find(key); ok {
		return json.RawMessage(m.raw[s.start:s.end:s.end]), true
	}
	return nil, false
}

// Text returns the value of a key where it is a string, unquoted, else "".
func (m Metadata) Text(key string) string {
	s, ok := m.find(key)
	if !ok || m.raw[s.start] != '"' {
		return ""
	}
	return string(unquoted(m.raw, s))
}

// Set gives key a value: in the place of the old value, or at the end. The value is written as payloads are (see
// [Type]). The error names the key and says why the value has no JSON, and m is unchanged.
func (m *Metadata) Set(key string, value any) error {
	if s, ok := value.(string); ok {
		return m.SetText(key, s)
	}
	text, err := appendMetadataValue(nil, value)
	if err != nil {
		return fmt.Errorf("schema: metadata %q: %w", key, err)
	}
	if s, ok := m.find(key); ok {
		m.raw = slices.Concat(m.raw[:s.start], text, m.raw[s.end:])
		return nil
	}
	raw, err := m.open(key, len(text))
	if err != nil {
		return err
	}
	m.raw = append(append(raw, text...), '}')
	return nil
}

// SetText is Set of a text, which always has its JSON: the error is that of a key that is not UTF-8.
func (m *Metadata) SetText(key, text string) error {
	text = strings.ToValidUTF8(text, "\ufffd")
	if s, ok := m.find(key); ok {
		value, _ := appendString(nil, text)
		m.raw = slices.Concat(m.raw[:s.start], value, m.raw[s.end:])
		return nil
	}
	raw, err := m.open(key, len(text)+len(`""`))
	if err != nil {
		return err
	}
	raw, _ = appendString(raw, text)
	m.raw = append(raw, '}')
	return nil
}

// open returns a copy of the object up to the value of a new member at its end, with room for one of the given size.
func (m *Metadata) open(key string, size int) ([]byte, error) {
	raw := make([]byte, 0, len(m.raw)+len(key)+size+len(`{"":}`)+len(`,`))
	raw = append(raw, '{')
	if m.Len() > 0 {
		closing := len(m.raw) - 1
		raw = append(append(raw[:0], m.raw[:closing]...), ',')
	}
	raw, ok := appendString(raw, key)
	if !ok {
		return nil, fmt.Errorf("schema: metadata %q: the key is not UTF-8", key)
	}
	return append(raw, ':'), nil
}

// appendMetadataValue appends value as JSON that may stand inside of metadata.
func appendMetadataValue(dst []byte, value any) ([]byte, error) {
	text, err := marshalGuarded(value)
	if err != nil {
		return nil, err
	}
	if _, fault := skipValue(text, 0, metadataDepth, nil); fault != nil {
		return nil, fmt.Errorf("%s", fault.Msg)
	}
	return append(dst, text...), nil
}

// metadataDepth is how many braces are open around a value in metadata: the envelope's and the metadata's.
const metadataDepth = 2

// Len returns how many members there are.
func (m Metadata) Len() int {
	n := 0
	for range m.members() {
		n++
	}
	return n
}

// Keys yields the keys in their order.
func (m Metadata) Keys() iter.Seq[string] {
	return func(yield func(string) bool) {
		for key := range m.members() {
			if !yield(string(unquoted(m.raw, key))) {
				return
			}
		}
	}
}

// MarshalJSON returns the object as it is kept.
func (m Metadata) MarshalJSON() ([]byte, error) { return m.appendTo(nil), nil }

// UnmarshalJSON keeps a copy of b, which has to be an object, or null for an empty one.
func (m *Metadata) UnmarshalJSON(b []byte) error {
	i := skipSpace(b, 0)
	end, err := skipValue(b, i, metadataDepth-1, nil)
	switch {
	case err != nil:
		return err
	case skipSpace(b, end) != len(b):
		return fmt.Errorf("schema: metadata: something follows the object")
	case string(b[i:end]) == "null":
		m.raw = nil
	case b[i] != '{':
		return fmt.Errorf("schema: metadata is %s, it has to be an object", kindOf(b[i]))
	default:
		m.raw = slices.Clone(b[i:end])
	}
	return nil
}

func (m Metadata) appendTo(dst []byte) []byte {
	if len(m.raw) == 0 {
		return append(dst, emptyObject...)
	}
	return append(dst, m.raw...)
}

// find returns the value of the last member called key.
func (m Metadata) find(key string) (value span, ok bool) {
	for k, v := range m.members() {
		if says(m.raw, k, key) {
			value, ok = v, true
		}
	}
	return value, ok
}

// members yields the members of the object as they are written.
func (m Metadata) members() iter.Seq2[span, span] {
	return func(yield func(key, value span) bool) {
		if len(m.raw) == 0 {
			return
		}
		i, last := skipSpace(m.raw, 1), false
		for last = m.raw[i] == '}'; !last; {
			var k span
			i, k, _ = skipKey(m.raw, i)
			end, escaped := valueEnd(m.raw, i)
			if !yield(k, span{i, end, escaped}) {
				return
			}
			i, last, _ = skipComma(m.raw, end, '}')
		}
	}
}

// valueEnd walks over a value that is known to be right.
func valueEnd(b []byte, i int) (end int, escaped bool) {
	if b[i] == '"' {
		end, escaped, _ = skipString(b, i)
		return end, escaped
	}
	end, _ = skipValue(b, i, 0, nil)
	return end, false
}

// kindOf names the kind of the value that begins with c, for errors.
func kindOf(c byte) string {
	switch c {
	case '{':
		return "an object"
	case '[':
		return "an array"
	case '"':
		return "a string"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "null"
	default:
		return "a number"
	}
}
