package schema

import (
	"math/bits"
	"unicode/utf8"
)

// MaxDepth is how deep objects and arrays may be nested, the envelope's own braces included. It is our own limit: it
// bounds the stack of whoever parses an event, in this language and in others.
const MaxDepth = 64

// The functions of this file walk over JSON once and check all of it: syntax by RFC 8259, UTF-8, depth. Each takes the
// bytes and the index to begin at, and returns the index after what it has walked over. Where keys is not nil, it gets
// the keys of all objects.

// skipSpace returns the index of the first byte that is no white space.
func skipSpace(b []byte, i int) int {
	for i < len(b) && b[i] <= ' ' && (b[i] == ' ' || b[i] == '\n' || b[i] == '\t' || b[i] == '\r') {
		i++
	}
	return i
}

// skipValue walks over the value that begins at b[i], inside depth open objects and arrays.
func skipValue(b []byte, i, depth int, keys *keyList) (int, *DecodeError) {
	if i >= len(b) {
		return i, syntaxFault(b, i, "a value")
	}
	switch b[i] {
	case '"':
		end, _, err := skipString(b, i)
		return end, err
	case '{':
		return skipObject(b, i, depth, keys)
	case '[':
		return skipArray(b, i, depth, keys)
	case 't':
		return skipWord(b, i, "true")
	case 'f':
		return skipWord(b, i, "false")
	case 'n':
		return skipWord(b, i, "null")
	default:
		return skipNumber(b, i)
	}
}

func skipObject(b []byte, i, depth int, keys *keyList) (int, *DecodeError) {
	if depth >= MaxDepth {
		return i, depthFault(i)
	}
	i = skipSpace(b, i+1)
	if i < len(b) && b[i] == '}' {
		return i + 1, nil
	}
	for {
		var err *DecodeError
		var key span
		var last bool
		if i, key, err = skipKey(b, i); err != nil {
			return i, err
		}
		if keys != nil {
			keys.add(key)
		}
		if end, ok := skipPlainString(b, i); ok {
			i = end
		} else if i, err = skipValue(b, i, depth+1, keys); err != nil {
			return i, err
		}
		if i, last, err = skipComma(b, i, '}'); last || err != nil {
			return i, err
		}
	}
}

func skipArray(b []byte, i, depth int, keys *keyList) (int, *DecodeError) {
	if depth >= MaxDepth {
		return i, depthFault(i)
	}
	i = skipSpace(b, i+1)
	if i < len(b) && b[i] == ']' {
		return i + 1, nil
	}
	for {
		var err *DecodeError
		var last bool
		if end, ok := skipPlainString(b, i); ok {
			i = end
		} else if i, err = skipValue(b, i, depth+1, keys); err != nil {
			return i, err
		}
		if i, last, err = skipComma(b, i, ']'); last || err != nil {
			return i, err
		}
	}
}

func depthFault(i int) *DecodeError {
	return &DecodeError{ReasonDepth, i, "objects and arrays are nested more than 64 deep"}
}

// A span is a piece of JSON: text[start:end].
type span struct {
	start, end int
	escaped    bool // for a string, quotes included: whether it contains a backslash
}

// skipKey walks over a key and its colon, up to the value; key is the string with its quotes.
func skipKey(b []byte, i int) (next int, key span, err *DecodeError) {
	if i >= len(b) || b[i] != '"' {
		return i, key, syntaxFault(b, i, "a key in quotes")
	}
	if end := skipPlain(b, i+1); end+2 < len(b) && b[end] == '"' && b[end+1] == ':' && b[end+2] > ' ' {
		return end + 2, span{i, end + 1, false}, nil // the rule: no escapes and no white space
	}
	end, escaped, err := skipString(b, i)
	if err != nil {
		return i, key, err
	}
	key = span{i, end, escaped}
	if i = skipSpace(b, end); i >= len(b) || b[i] != ':' {
		return i, key, syntaxFault(b, i, "a colon")
	}
	return skipSpace(b, i+1), key, nil
}

// skipComma walks over what follows a value: a comma up to the next value or key, or the closing bracket.
func skipComma(b []byte, i int, closing byte) (next int, last bool, err *DecodeError) {
	if i+1 < len(b) && b[i] == ',' && b[i+1] > ' ' {
		return i + 1, false, nil // the rule: no white space
	}
	i = skipSpace(b, i)
	switch {
	case i < len(b) && b[i] == ',':
		return skipSpace(b, i+1), false, nil
	case i < len(b) && b[i] == closing:
		return i + 1, true, nil
	default:
		return i, false, syntaxFault(b, i, "a comma or "+string(rune(closing)))
	}
}

func skipWord(b []byte, i int, word string) (int, *DecodeError) {
	for j := range len(word) {
		if i+j >= len(b) || b[i+j] != word[j] {
			return i, syntaxFault(b, i+j, word)
		}
	}
	return i + len(word), nil
}

// skipNumber walks over a number: RFC 8259, section 6.
func skipNumber(b []byte, i int) (int, *DecodeError) {
	start := i
	if b[i] == '-' {
		i++
	}
	first := i
	if i = skipDigits(b, i); i == first {
		if start == first {
			return i, syntaxFault(b, i, "a value")
		}
		return i, syntaxFault(b, i, "a digit")
	}
	if b[first] == '0' && i > first+1 {
		return i, &DecodeError{ReasonSyntax, first, "a number begins with 0"}
	}
	if i < len(b) && b[i] == '.' {
		first = i + 1
		if i = skipDigits(b, first); i == first {
			return i, syntaxFault(b, i, "a digit")
		}
	}
	if i < len(b) && (b[i] == 'e' || b[i] == 'E') {
		return skipExponent(b, i+1)
	}
	return i, nil
}

func skipExponent(b []byte, i int) (int, *DecodeError) {
	if i < len(b) && (b[i] == '+' || b[i] == '-') {
		i++
	}
	first := i
	if i = skipDigits(b, i); i == first {
		return i, syntaxFault(b, i, "a digit")
	}
	return i, nil
}

func skipDigits(b []byte, i int) int {
	for i < len(b) && '0' <= b[i] && b[i] <= '9' {
		i++
	}
	return i
}

// skipString walks over the string whose opening quote is b[i], to after its closing quote.
func skipString(b []byte, i int) (end int, escaped bool, err *DecodeError) {
	i++
	for {
		i = skipPlain(b, i)
		if i >= len(b) {
			return i, escaped, syntaxFault(b, i, "a closing quote")
		}
		switch c := b[i]; {
		case c == '"':
			return i + 1, escaped, nil
		case c == '\\':
			escaped = true
			i, err = skipEscape(b, i)
		case c < ' ':
			err = &DecodeError{ReasonSyntax, i, "a control character in a string, which has to be escaped"}
		default:
			i, err = skipRune(b, i)
		}
		if err != nil {
			return i, escaped, err
		}
	}
}

// skipPlainString walks over a string without escapes, which is most of what a payload consists of. ok is false for any
// other value, and for what is none.
func skipPlainString(b []byte, i int) (end int, ok bool) {
	if i >= len(b) || b[i] != '"' {
		return i, false
	}
	end = skipPlain(b, i+1)
	return end + 1, end < len(b) && b[end] == '"'
}

// skipPlain returns the index of the first byte that ends a string or needs a closer look. It takes eight bytes at a
// time.
func skipPlain[T []byte | string](b T, i int) int {
	for ; i+8 <= len(b); i += 8 {
		if m := special(load64(b, i)); m != 0 {
			return i + bits.TrailingZeros64(m)>>3
		}
	}
	if last := len(b) - 8; last >= 0 {
		rest := load64(b, last) >> (8 * uint(i-last)) // ends in zeros, which are special: the first is at len(b)
		return i + bits.TrailingZeros64(special(rest))>>3
	}
	if n := len(b) - i; n >= 4 { // the same with two times four bytes, which overlap
		rest := uint64(load32(b, i)) | uint64(load32(b, len(b)-4))<<(8*uint(n-4))
		return i + bits.TrailingZeros64(special(rest))>>3
	}
	for i < len(b) && !isSpecial(b[i]) {
		i++
	}
	return i
}

// load32 is load64 for four bytes.
func load32[T []byte | string](b T, i int) uint32 {
	w := b[i : i+4]
	return uint32(w[0]) | uint32(w[1])<<8 | uint32(w[2])<<16 | uint32(w[3])<<24
}

// load64 is binary.LittleEndian.Uint64, for strings too. The compiler makes one check and one load of it, as long as
// the eight bytes are a slice of their own.
func load64[T []byte | string](b T, i int) uint64 {
	w := b[i : i+8]
	return uint64(w[0]) | uint64(w[1])<<8 | uint64(w[2])<<16 | uint64(w[3])<<24 |
		uint64(w[4])<<32 | uint64(w[5])<<40 | uint64(w[6])<<48 | uint64(w[7])<<56
}

// isSpecial reports whether c has to be escaped in a string, ends it, or is no ASCII.
func isSpecial(c byte) bool { return c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf }

// special is isSpecial for eight bytes: the lowest bit that it sets is the top bit of the first special byte. Higher
// bits may be wrong, as the subtractions borrow upwards (Anderson, "Bit Twiddling Hacks", hasless and haszero).
func special(w uint64) uint64 {
	const (
		ones = 0x0101010101010101
		tops = 0x8080808080808080
	)
	const quoteToSpace = '"' ^ ' ' // exchanges the two, and keeps what is below a space below it
	control := (w ^ ones*quoteToSpace) - ones*(' '+1)
	backslash := w ^ ones*'\\'
	backslash = (backslash - ones) &^ backslash
	return (control&^w | backslash | w) & tops
}

// skipRune walks over a character of two bytes or more.
func skipRune(b []byte, i int) (int, *DecodeError) {
	r, n := utf8.DecodeRune(b[i:])
	if r == utf8.RuneError && n <= 1 {
		return i, &DecodeError{ReasonUTF8, i, "a string is not UTF-8"}
	}
	return i + n, nil
}

// skipEscape walks over the escape sequence whose backslash is b[i]. Half of a surrogate pair is refused: there is no
// UTF-8 for it, and the payload's codec would refuse it later.
func skipEscape(b []byte, i int) (int, *DecodeError) {
	if i+1 >= len(b) {
		return i, syntaxFault(b, i+1, "an escape sequence")
	}
	switch b[i+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 2, nil
	case 'u':
	default:
		return i, syntaxFault(b, i+1, "an escape sequence")
	}
	r, ok := hex4(b, i+2)
	if !ok {
		return i, &DecodeError{ReasonSyntax, i, `\u is not followed by four hexadecimal digits`}
	}
	if r < surrogateMin || r > surrogateMax {
		return i + 6, nil
	}
	low, ok := lowSurrogate(b, i+6)
	if r >= surrogateLow || !ok || low < surrogateLow {
		return i, &DecodeError{ReasonUTF8, i, `\u escapes half of a surrogate pair`}
	}
	return i + 12, nil
}

// The range of UTF-16 surrogates; the low ones begin at surrogateLow.
const surrogateMin, surrogateLow, surrogateMax = 0xd800, 0xdc00, 0xdfff

// lowSurrogate reads the second escape sequence of a pair.
func lowSurrogate(b []byte, i int) (rune, bool) {
	if i+1 >= len(b) || b[i] != '\\' || b[i+1] != 'u' {
		return 0, false
	}
	r, ok := hex4(b, i+2)
	return r, ok && r >= surrogateLow && r <= surrogateMax
}

func hex4(b []byte, i int) (r rune, ok bool) {
	if i+4 > len(b) {
		return 0, false
	}
	for _, c := range b[i : i+4] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}
