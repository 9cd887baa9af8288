package pattern

import "fmt"

// A SyntaxError says why a text is no name or no pattern.
type SyntaxError struct {
	Input   string // the text, whole
	Offset  int    // the byte of it that is wrong, from 0; its length where something is missing at the end
	Problem string // what is wrong and what to write instead
}

// Error shows the beginning of the text, the place, the problem and the remedy.
func (e *SyntaxError) Error() string {
	input := e.Input
	if len(input) > MaxLen {
		input = input[:MaxLen]
	}
	return fmt.Sprintf("%q: at byte %d: %s", input, e.Offset, e.Problem)
}

// CheckName reports whether s is a name: what channels and event types are called. Its error is a *SyntaxError that
// shows the place and the remedy.
func CheckName(s string) error { return check(s, false) }

// check walks over s once, token by token. It returns no typed nil.
func check(s string, wildcards bool) error {
	if len(s) > MaxLen {
		return &SyntaxError{s, MaxLen, fmt.Sprintf("it is %d bytes long, at most %d are allowed", len(s), MaxLen)}
	}
	for start := 0; ; {
		n := tokenLen(s[start:])
		end := start + n
		if n == 0 && end < len(s) && wildcards && (s[end] == '*' || s[end] == '>') {
			end++
		}
		if problem := checkToken(s, start, end, wildcards); problem != "" {
			return &SyntaxError{s, end, problem}
		}
		if start == 0 && !beginsName(s[0]) && n > 0 {
			return &SyntaxError{s, 0, fmt.Sprintf("%q cannot come first, begin with a letter a-z or a digit", s[0])}
		}
		if end == len(s) {
			return nil
		}
		start = end + 1
	}
}

// checkToken says what is wrong with s[start:end] as a token and with what follows it.
func checkToken(s string, start, end int, wildcards bool) string {
	switch {
	case end < len(s) && s[end] != '.':
		return badByte(s, start, end, wildcards)
	case start == end && len(s) == 0:
		return "it is empty, write tokens separated by dots, such as user.registered"
	case start == end:
		return "a token is missing, write one between the dots and none at the ends"
	case s[end-1] == '>' && end < len(s):
		return `">" has to be the last token, use "*" for one token in the middle`
	}
	return ""
}

// badByte says why s[at], in or after the token that begins at start, is not allowed there.
func badByte(s string, start, at int, wildcards bool) string {
	switch c := s[at]; {
	case (c == '*' || c == '>') && !wildcards:
		return fmt.Sprintf("%q is a wildcard, only patterns have those: write the name out", c)
	case c == '*' || c == '>', s[start] == '*' || s[start] == '>':
		return `"*" and ">" have to be whole tokens, such as in user.* or user.>`
	case c >= 'A' && c <= 'Z':
		return fmt.Sprintf("%q is a capital letter, write %q", c, c+'a'-'A')
	default:
		return fmt.Sprintf("%q is not allowed, tokens are made of a-z, 0-9, _ and -", s[at:at+1])
	}
}

// inToken says which bytes a token is made of.
var inToken = func() (t [256]bool) {
	for _, c := range []byte("abcdefghijklmnopqrstuvwxyz0123456789_-") {
		t[c] = true
	}
	return t
}()

// beginsName reports whether c may be the first byte of a name.
func beginsName(c byte) bool { return inToken[c] && c != '_' && c != '-' }

// tokenLen returns how many bytes at the beginning of s may be a token's.
func tokenLen(s string) int {
	for i := range len(s) {
		if !inToken[s[i]] {
			return i
		}
	}
	return len(s)
}

// areTokens reports whether s is one or more tokens separated by dots.
func areTokens(s string) bool {
	for {
		n := tokenLen(s)
		if n == 0 || n == len(s) {
			return n > 0
		}
		if s[n] != '.' {
			return false
		}
		s = s[n+1:]
	}
}
