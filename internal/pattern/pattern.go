// Package pattern is the one grammar of names and of the patterns that match them: event types, channels and, on every
// broker, the wildcards of a subscription.
//
// A name is tokens separated by dots, such as "user_service.events.all":
//
//	name    = first { "." token }    at most 200 bytes
//	token   = 1 or more of a-z 0-9 _ -
//	first   = a token that begins with a-z or 0-9
//
// A pattern is a name in which a token may be "*", which matches exactly one token, and the last token may be ">",
// which matches one or more. A pattern without wildcards matches only itself.
//
// The package imports nothing of this module. Everything in it is pure and safe for concurrent use.
package pattern

import "strings"

// MaxLen is the length in bytes of the longest name and of the longest pattern. It is our own limit, chosen so that a
// name fits wherever a broker stores one (JetStream's file names end at 255).
const MaxLen = 200

// A Pattern matches names. It is made by Parse and never changes; the zero value matches nothing.
type Pattern struct {
	text   string
	prefix int  // how many bytes come before the first wildcard
	wild   bool // whether there is one
}

// Parse reads a pattern. Its error is a *SyntaxError that shows the place and the remedy.
func Parse(s string) (Pattern, error) {
	if err := check(s, true); err != nil {
		return Pattern{}, err
	}
	p := Pattern{text: s, prefix: strings.IndexAny(s, "*>")}
	p.wild = p.prefix >= 0
	return p, nil
}

// MustParse is Parse for patterns that are constants of the program: it panics where Parse returns an error.
func MustParse(s string) Pattern {
	p, err := Parse(s)
	if err != nil {
		panic(err)
	}
	return p
}

// String returns the text that was parsed.
func (p Pattern) String() string { return p.text }

// Literal reports whether p has no wildcard, so that it matches one name: its own text.
func (p Pattern) Literal() bool { return !p.wild }

// Match reports whether p matches name. It is false for whatever is not a name by CheckName. It does not allocate.
func (p Pattern) Match(name string) bool {
	if !p.wild {
		return name == p.text && name != ""
	}
	if len(name) <= p.prefix || len(name) > MaxLen || name[:p.prefix] != p.text[:p.prefix] || !beginsName(name[0]) {
		return false
	}
	return matchTokens(p.text[p.prefix:], name[p.prefix:])
}

// matchTokens matches the tokens of a pattern against those of a name. The pattern has at least one.
func matchTokens(pat, name string) bool {
	for {
		want := firstToken(pat)
		if want == ">" {
			return areTokens(name)
		}
		n := tokenLen(name)
		if n == 0 || want != "*" && want != name[:n] {
			return false
		}
		pat = afterToken(pat)
		if n == len(name) {
			return pat == ""
		}
		if pat == "" || name[n] != '.' {
			return false
		}
		name = name[n+1:]
	}
}

// Covers reports whether p matches every name that q matches. It does not count on names being no longer than MaxLen:
// a hundred "*" do not cover ninety-nine and a ">", although no longer name would fit.
func (p Pattern) Covers(q Pattern) bool {
	pat, other := p.text, q.text
	for pat != "" && other != "" {
		a, b := firstToken(pat), firstToken(other)
		switch {
		case a == ">":
			return true
		case b == ">", a != "*" && a != b:
			return false
		}
		pat, other = afterToken(pat), afterToken(other)
	}
	return other == "" && (pat == "" || q.text == "")
}

// Overlaps reports whether some name is matched by both p and q. Like Covers, it does not count on MaxLen.
func (p Pattern) Overlaps(q Pattern) bool {
	pat, other := p.text, q.text
	for pat != "" && other != "" {
		a, b := firstToken(pat), firstToken(other)
		switch {
		case a == ">" || b == ">":
			return true
		case a != "*" && b != "*" && a != b:
			return false
		}
		pat, other = afterToken(pat), afterToken(other)
	}
	return pat == "" && other == "" && p.text != ""
}

// firstToken returns what comes before the first dot of a pattern.
func firstToken(s string) string {
	if i := strings.IndexByte(s, '.'); i >= 0 {
		return s[:i]
	}
	return s
}

// afterToken returns what comes after the first dot of a pattern, or "" where there is none.
func afterToken(s string) string {
	if i := strings.IndexByte(s, '.'); i >= 0 {
		return s[i+1:]
	}
	return ""
}
