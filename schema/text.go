package schema

import (
	"bytes"
	"unicode/utf16"
	"unicode/utf8"
)

// appendString appends s in quotes, escaped as little as RFC 8259 allows; ok is false where s is not UTF-8.
func appendString(dst []byte, s string) (_ []byte, ok bool) {
	dst = append(dst, '"')
	if i := skipPlain(s, 0); i < len(s) {
		return appendEscaped(dst, s, i)
	}
	dst = append(dst, s...)
	return append(dst, '"'), true
}

// appendEscaped is the slow path of appendString: s[:i] is known to be plain.
func appendEscaped(dst []byte, s string, i int) (_ []byte, ok bool) {
	dst = append(dst, s[:i]...)
	for i < len(s) {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && n == 1 {
				return dst, false
			}
			dst = append(dst, s[i:i+n]...)
			i += n
			continue
		}
		dst = appendEscape(dst, c)
		i++
	}
	return append(dst, '"'), true
}

// appendEscape appends one ASCII character, escaped where it has to be.
func appendEscape(dst []byte, c byte) []byte {
	const hex = "0123456789abcdef"
	switch {
	case !isSpecial(c):
		return append(dst, c)
	case c == '"' || c == '\\':
		return append(dst, '\\', c)
	case c == '\b':
		return append(dst, `\b`...)
	case c == '\f':
		return append(dst, `\f`...)
	case c == '\n':
		return append(dst, `\n`...)
	case c == '\r':
		return append(dst, `\r`...)
	case c == '\t':
		return append(dst, `\t`...)
	default:
		return append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
	}
}

// appendText appends what a string says, given as it is written, without its quotes. The string has been walked over by
// skipString, so that its escape sequences are known to be right.
func appendText(dst, raw []byte) []byte {
	for i := 0; i < len(raw); i++ {
		if raw[i] != '\\' {
			dst = append(dst, raw[i])
			continue
		}
		i++
		switch c := raw[i]; c {
		case 'u':
			r, n := escapedRune(raw, i+1)
			dst = utf8.AppendRune(dst, r)
			i += n
		default:
			dst = append(dst, shortEscape(c))
		}
	}
	return dst
}

// escapedRune reads the digits after \u, and those of a second half; n is how many bytes that is.
func escapedRune(raw []byte, i int) (r rune, n int) {
	r, _ = hex4(raw, i)
	if r < surrogateMin || r > surrogateMax {
		return r, 4
	}
	low, _ := lowSurrogate(raw, i+4)
	return utf16.DecodeRune(r, low), 10
}

// shortEscape returns the character that a backslash and c stand for.
func shortEscape(c byte) byte {
	switch c {
	case 'b':
		return '\b'
	case 'f':
		return '\f'
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	default:
		return c
	}
}

// unquoted returns what the string b[s.start:s.end] says, without a copy where it has no escape sequences.
func unquoted(b []byte, s span) []byte {
	raw := b[s.start+1 : s.end-1]
	if !s.escaped {
		return raw
	}
	return appendText(make([]byte, 0, len(raw)), raw)
}

// says reports whether the string b[s.start:s.end] says want.
func says(b []byte, s span, want string) bool {
	if s.escaped {
		return string(unquoted(b, s)) == want
	}
	return string(b[s.start+1:s.end-1]) == want
}

// sameText reports whether two strings of b say the same.
func sameText(b []byte, x, y span) bool {
	if x.escaped || y.escaped {
		return bytes.Equal(unquoted(b, x), unquoted(b, y))
	}
	return bytes.Equal(b[x.start:x.end], b[y.start:y.end])
}
