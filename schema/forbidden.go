package schema

import (
	"unicode"
	"unicode/utf8"
)

// Forbidden is a list of what the keys of a payload and of metadata must not name, since secrets do not belong in
// events. It never changes and is safe for concurrent use. A nil *Forbidden forbids nothing.
//
// An entry is a word such as "token", or several such as "api_key". A key is forbidden where the words of an entry
// stand in it next to each other, whole words without regard to case: "token" forbids token, reset_token, resetToken
// and X-Token-Id, not tokenised. Words are told apart as snake_case, kebab-case and camelCase do, and a number is a
// word of its own. How the words of an entry are joined makes no difference: "api_key" forbids apiKey, APIKey and
// apikey too.
type Forbidden struct {
	entries map[string]string // from the words run together to the entry
	longest int               // the length of the longest key of entries
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
		var s splitter
		s.split(name)
		if joined := string(s.text); joined != "" {
			f.entries[joined] = name
			f.longest = max(f.longest, len(joined))
		}
	}
	return f
}

// Find reports whether name is forbidden, and by which entry.
func (f *Forbidden) Find(name string) (entry string, found bool) {
	if f == nil || len(f.entries) == 0 {
		return "", false
	}
	var array [128]byte
	var starts [32]int
	s := splitter{text: array[:0], starts: starts[:0]}
	s.split(name)
	for i, start := range s.starts {
		for j := i; j < len(s.starts); j++ {
			end := len(s.text)
			if j+1 < len(s.starts) {
				end = s.starts[j+1]
			}
			if end-start > f.longest {
				break
			}
			if entry, found = f.entries[string(s.text[start:end])]; found {
				return entry, true
			}
		}
	}
	return "", false
}

// findIn looks for a forbidden key in a JSON value that is known to be right, at any depth.
func (f *Forbidden) findIn(b []byte) (entry, key string, found bool) {
	if f == nil || len(f.entries) == 0 {
		return "", "", false
	}
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
		name := unquoted(b, text)
		if entry, found = f.Find(string(name)); found {
			return entry, string(name), true
		}
	}
	return "", "", false
}

// A splitter takes a name apart into words.
type splitter struct {
	text   []byte // the words in lower case, run together
	starts []int  // where each word begins in text
}

// What a character is to a splitter.
const (
	between = iota // separates words
	lower
	upper
	digit
)

// split appends the words of name.
func (s *splitter) split(name string) {
	before := between
	for i := 0; i < len(name); {
		r, n := utf8.DecodeRuneInString(name[i:])
		i += n
		class := classOf(r)
		if class != between {
			if begins(before, class, name[i:]) {
				s.starts = append(s.starts, len(s.text))
			}
			s.text = utf8.AppendRune(s.text, unicode.ToLower(unicode.ToUpper(r)))
		}
		before = class
	}
}

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
