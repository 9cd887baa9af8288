package schema

import (
	"bytes"
	"iter"

	"github.com/go-json-experiment/json/jsontext"
)

// A keyList is the keys of all objects in a JSON value, as the functions of scan.go find them. It is small, since it is
// on the stack; few payloads have more keys.
type keyList struct {
	keys  [12]span
	found int // how many there are, kept or not
}

// add notes a key.
func (l *keyList) add(key span) {
	if l.found < len(l.keys) {
		l.keys[l.found] = key
	}
	l.found++
}

// allowed reports whether no key of b, where l was found, is there twice or is forbidden by f. It is false, too, where
// that takes more than a look at l: too many keys, escaped ones, or equal ones of maybe different objects.
func (l *keyList) allowed(b []byte, f *Forbidden) bool {
	if l.found > len(l.keys) {
		return false
	}
	for i, key := range l.keys[:l.found] {
		name := b[key.start+1 : key.end-1]
		if key.escaped || f != nil && !f.allows(name) {
			return false
		}
		for _, other := range l.keys[:i] {
			if string(b[other.start+1:other.end-1]) == string(name) {
				return false
			}
		}
	}
	return true
}

// keysIn yields the keys of all objects in a JSON value that is known to be right, at any depth.
func keysIn(b []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for i := 0; i < len(b); i++ {
			if b[i] != '"' {
				continue
			}
			end, escaped, _ := skipString(b, i)
			text := span{i, end, escaped}
			i = skipSpace(b, end)
			if i >= len(b) || b[i] != ':' { // a value, not a key
				i = end - 1
				continue
			}
			if !yield(unquoted(b, text)) {
				return
			}
		}
	}
}

// hasKeyTwice reports whether an object in a JSON value that is known to be right has a key twice. Where no two keys of
// the whole value are equal, which is the rule, it need not know which objects they belong to.
func hasKeyTwice(b []byte) bool {
	var seen [24][]byte
	n := 0
	for key := range keysIn(b) {
		for _, other := range seen[:n] {
			if bytes.Equal(key, other) {
				return !jsontext.Value(b).IsValid()
			}
		}
		if n == len(seen) {
			return !jsontext.Value(b).IsValid()
		}
		seen[n] = key
		n++
	}
	return false
}
