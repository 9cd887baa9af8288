package schema

import (
	"sync/atomic"
	"unicode"
	"unicode/utf8"
)

// Forbidden is a list of what the keys of a payload and of metadata must not name, since secrets do not belong in
// events. What it forbids never changes, and it is safe for concurrent use. A nil *Forbidden forbids nothing.
//
// An entry is a word such as "token", or several such as "api_key". A key is forbidden where the words of an entry
// stand in it next to each other, whole words without regard to case: "token" forbids token, reset_token, resetToken
// and X-Token-Id, not tokenised. Words are told apart as snake_case, kebab-case and camelCase do, and a number is a
// word of its own. How the words of an entry are joined makes no difference: "api_key" forbids apiKey, APIKey and
// apikey too.
type Forbidden struct {
	entries map[string]string           // from the words run together to the entry
	longest int                         // the length of the longest key of entries
	lengths [256]uint64                 // by first byte: bit n (63 for more) is set where a key of entries is n bytes long
	allowed [256]atomic.Pointer[string] // keys that were found to be allowed, see allows
}

// defaultForbidden is our own list: the five names of the contract and their relatives.
var defaultForbidden = NewForbidden(
	"password", "passwords", "passwd", "pwd", "passphrase", "passcode",
	"secret", "secrets", "token", "tokens", "jwt", "bearer", "otp",
	"api_key", "api_keys", "access_key", "private_key", "signing_key", "encryption_key",
	"authorization", "authorisation", "credential", "credentials", "cookie", "cookies", "cvv", "cvc",
)

// DefaultForbidden returns the list that is used where nothing else is asked for: passwords, secrets, tokens, API keys,
// authorization headers, credentials and their like, in singular and plural.
func DefaultForbidden() *Forbidden { return defaultForbidden }

// NewForbidden makes a list. Entries without a letter or digit are ignored.
func NewForbidden(names ...string) *Forbidden {
	f := &Forbidden{entries: make(map[string]string, len(names))}
	for _, name := range names {
		words, _ := split(nil, nil, name)
		if joined := string(words); joined != "" {
			f.entries[joined] = name
			f.longest = max(f.longest, len(joined))
			f.lengths[joined[0]] |= lengthBit(len(joined))
		}
	}
	return f
}

// Find reports whether name is forbidden, and by which entry.
func (f *Forbidden) Find(name string) (entry string, found bool) {
	if f == nil || len(f.entries) == 0 {
		return "", false
	}
	var text [128]byte
	var borders [32]int
	words, ends := split(text[:0], borders[:0], name)
	start := 0
	for i, first := range ends {
		for _, end := range ends[i:] {
			if end-start > f.longest {
				break
			}
			if f.lengths[words[start]]&lengthBit(end-start) == 0 {
				continue // most words need no look into the map
			}
			if entry, found = f.entries[string(words[start:end])]; found {
				return entry, true
			}
		}
		start = first
	}
	return "", false
}

func lengthBit(n int) uint64 { return 1 << min(n, 63) }

// allows is the opposite of Find, for keys of which many events have the same few: it remembers those that it allowed,
// each in the one place that its length and two of its bytes give it.
func (f *Forbidden) allows(key []byte) bool {
	if n := len(key); n == 0 || n > 64 {
		_, found := f.Find(string(key))
		return !found
	}
	place := &f.allowed[byte(len(key))*31+key[0]*7+key[len(key)-1]]
	if known := place.Load(); known != nil && *known == string(key) {
		return true
	}
	name := string(key)
	if _, found := f.Find(name); found {
		return false
	}
	place.Store(&name)
	return true
}

// findIn looks for a forbidden key in a JSON value that is known to be right, at any depth.
func (f *Forbidden) findIn(b []byte) (entry, key string, found bool) {
	if f == nil || len(f.entries) == 0 {
		return "", "", false
	}
	for name := range keysIn(b) {
		if !f.allows(name) {
			entry, found = f.Find(string(name))
			return entry, string(name), found
		}
	}
	return "", "", false
}

// What a character is to split.
const (
	between = iota // separates words
	lower
	upper
	digit
)

// split takes a name apart. It appends its words to words, in lower case and run together, and to ends where each ends.
func split(words []byte, ends []int, name string) ([]byte, []int) {
	before := between
	for i := 0; i < len(name); {
		r, class, n := classAt(name, i)
		i += n
		if class != between {
			if class != before || class == upper {
				if begins(before, class, name[i:]) {
					ends = append(ends, len(words))
				}
			}
			if r < utf8.RuneSelf {
				words = append(words, byte(r)|asciiFold[class])
			} else {
				words = utf8.AppendRune(words, unicode.ToLower(unicode.ToUpper(r))) // the long s folds to s, too
			}
		}
		before = class
	}
	if len(ends) > 0 {
		ends = append(ends[1:], len(words)) // where a word begins, the one before ends
	}
	return words, ends
}

// asciiFold makes an ASCII letter of a class a small one when it is or-ed with it.
var asciiFold = [...]byte{upper: 'a' - 'A', digit: 0}

// classAt returns the character at name[i], its class and its length.
func classAt(name string, i int) (r rune, class, n int) {
	if c := name[i]; c < utf8.RuneSelf {
		return rune(c), int(asciiClass[c]), 1
	}
	r, n = utf8.DecodeRuneInString(name[i:])
	return r, classOf(r), n
}

// asciiClass is classOf for ASCII.
var asciiClass = func() (t [utf8.RuneSelf]uint8) {
	for r := range rune(utf8.RuneSelf) {
		t[r] = uint8(classOf(r))
	}
	return t
}()

// begins reports whether a character begins a word, from the one before it and what follows it: the K of apiKey and of
// APIKey does, the P of API does not.
func begins(before, class int, rest string) bool {
	if class == upper && before == upper {
		next, _ := utf8.DecodeRuneInString(rest)
		return classOf(next) == lower
	}
	return class != before && !(before == upper && class == lower)
}

func classOf(r rune) int {
	switch {
	case 'a' <= r && r <= 'z':
		return lower
	case 'A' <= r && r <= 'Z':
		return upper
	case '0' <= r && r <= '9':
		return digit
	case r < utf8.RuneSelf:
		return between
	case unicode.IsUpper(r):
		return upper
	case unicode.IsLetter(r) || unicode.IsMark(r):
		return lower
	case unicode.IsDigit(r):
		return digit
	}
	return between
}
