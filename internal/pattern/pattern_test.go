package pattern

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
)

func TestNamesAreTokensSeparatedByDots(t *testing.T) {
	for _, s := range []string{
		"a", "logout", "user.registered", "0.1", "a.-", "a._x", "user_service.events.all", "a-b_c.d",
		strings.Repeat("a", MaxLen), "a" + strings.Repeat(".b", 99),
	} {
		if err := CheckName(s); err != nil {
			t.Errorf("CheckName(%q) = %v", s, err)
		}
	}
}

func TestWhatIsNoNameIsRefusedWithItsPlaceAndTheRemedy(t *testing.T) {
	for _, c := range []struct {
		in     string
		offset int
		says   string
	}{
		{"", 0, "it is empty"},
		{".", 0, "a token is missing"},
		{".a", 0, "a token is missing"},
		{"a.", 2, "a token is missing"},
		{"a..b", 2, "a token is missing"},
		{"_a", 0, "begin with a letter"},
		{"-", 0, "begin with a letter"},
		{"aB", 1, "write 'b'"},
		{"user.Registered", 5, "write 'r'"},
		{"a b", 1, `" " is not allowed`},
		{"a\x00", 1, `"\x00" is not allowed`},
		{"a\r\nb", 1, `"\r" is not allowed`},
		{"caf\xc3\xa9", 3, `"\xc3" is not allowed`},
		{"$js.api", 0, `"$" is not allowed`},
		{"a.*", 2, "is a wildcard"},
		{"a.>", 2, "is a wildcard"},
		{strings.Repeat("a", MaxLen+1), MaxLen, "201 bytes long"},
	} {
		expectSyntaxError(t, CheckName(c.in), c.in, c.offset, c.says)
	}
}

func TestWhatIsNoPatternIsRefusedWithItsPlaceAndTheRemedy(t *testing.T) {
	for _, c := range []struct {
		in     string
		offset int
		says   string
	}{
		{"", 0, "it is empty"},
		{">.a", 1, "has to be the last token"},
		{"a.>.>", 3, "has to be the last token"},
		{"a*", 1, "whole tokens"},
		{"*a", 1, "whole tokens"},
		{"a.**", 3, "whole tokens"},
		{"a.>>", 3, "whole tokens"},
		{"a.*>", 3, "whole tokens"},
		{"a.", 2, "a token is missing"},
		{"*.", 2, "a token is missing"},
		{"_.*", 0, "begin with a letter"},
		{"user.#", 5, `"#" is not allowed`},
		{"user.?", 5, `"?" is not allowed`},
	} {
		_, err := Parse(c.in)
		expectSyntaxError(t, err, c.in, c.offset, c.says)
	}
}

func expectSyntaxError(t *testing.T, err error, in string, offset int, says string) {
	t.Helper()
	var se *SyntaxError
	if !errors.As(err, &se) {
		t.Errorf("%q: got %v, want a SyntaxError", in, err)
		return
	}
	if se.Input != in || se.Offset != offset || !strings.Contains(se.Problem, says) {
		t.Errorf("%q: got %q at %d, want %q at %d", in, se.Problem, se.Offset, says, offset)
	}
	if text := err.Error(); !strings.Contains(text, fmt.Sprintf("byte %d", offset)) || len(text) > 4*MaxLen+200 {
		t.Errorf("%q: error %q", in, text)
	}
}

func TestAPatternMatchesTokenByToken(t *testing.T) {
	for _, c := range []struct {
		pattern   string
		yes, no   []string
		isLiteral bool
	}{
		{"logout", []string{"logout"}, []string{"", "logou", "logout.x", "logouts", "*"}, true},
		{"user.*", []string{"user.a", "user.x-y"}, []string{"user", "user.", "user.a.b", "users.a", "user.*", "user.A"}, false},
		{"user.>", []string{"user.a", "user.a.b"}, []string{"user", "user.", "user..a", "user.a.", "user.>", "user.a b"}, false},
		{"*", []string{"a", "logout"}, []string{"", "a.b", "_a", "*"}, false},
		{">", []string{"a", "a.b", "a.b.c"}, []string{"", ".", "_a.b", "a.b."}, false},
		{"*.*", []string{"a.b"}, []string{"a", "a.b.c", "a.", ".b"}, false},
		{"*.b.>", []string{"a.b.c", "a.b.c.d"}, []string{"a.b", "a.c.d", "b.c"}, false},
		{"a.*.c", []string{"a.b.c", "a.-.c"}, []string{"a.c", "a.b.cc", "a.b", "a..c", "a.b.c.d"}, false},
		{"*.c", []string{"a.c"}, []string{"a.cc", "a.bc", "ac", "_.c"}, false},
	} {
		p := MustParse(c.pattern)
		if p.String() != c.pattern || p.Literal() != c.isLiteral {
			t.Errorf("%q: String %q, Literal %v", c.pattern, p, p.Literal())
		}
		for _, name := range c.yes {
			if !p.Match(name) {
				t.Errorf("%q does not match %q", p, name)
			}
		}
		for _, name := range c.no {
			if p.Match(name) {
				t.Errorf("%q matches %q", p, name)
			}
		}
	}
}

func TestAWildcardMatchesNoNameThatIsTooLong(t *testing.T) {
	p := MustParse("a.>")
	fits := "a." + strings.Repeat("b", MaxLen-2)
	if !p.Match(fits) || p.Match(fits+"b") {
		t.Errorf("the limit of %d bytes is not the border", MaxLen)
	}
}

func TestTheZeroPatternMatchesNothing(t *testing.T) {
	var zero Pattern
	some := MustParse(">")
	if zero.Match("") || zero.Match("a") || zero.Overlaps(some) || some.Overlaps(zero) || zero.Overlaps(zero) {
		t.Error("the zero pattern matches something")
	}
	if !some.Covers(zero) || !zero.Covers(zero) || zero.Covers(some) || !MustParse("a.b").Covers(zero) {
		t.Error("Covers: the zero pattern matches nothing, so everything covers it, and it covers nothing else")
	}
}

// allOf enumerates the texts of 1 to most tokens out of tokens.
func allOf(most int, tokens ...string) []string {
	all, last := []string{}, []string{""}
	for range most {
		var next []string
		for _, head := range last {
			for _, token := range tokens {
				next = append(next, strings.TrimPrefix(head+"."+token, "."))
			}
		}
		all, last = append(all, next...), next
	}
	return all
}

func TestCoversAndOverlapsAgreeWithMatchOnAllSmallNames(t *testing.T) {
	// Patterns of up to three tokens of two literals are told apart by names of up to four tokens of three literals:
	// one token more than any pattern is long, one literal more than any pattern mentions.
	names := allOf(4, "a", "b", "c")
	var patterns []Pattern
	for _, s := range allOf(3, "a", "b", "*", ">") {
		if p, err := Parse(s); err == nil {
			patterns = append(patterns, p)
		}
	}
	if len(patterns) != 3+1+3*(3+1)+3*3*(3+1) {
		t.Fatalf("%d patterns", len(patterns))
	}
	for _, p := range patterns {
		for _, q := range patterns {
			covers, overlaps := true, false
			for _, name := range names {
				covers = covers && (p.Match(name) || !q.Match(name))
				overlaps = overlaps || p.Match(name) && q.Match(name)
			}
			if p.Covers(q) != covers {
				t.Errorf("%q.Covers(%q) = %v", p, q, !covers)
			}
			if p.Overlaps(q) != overlaps {
				t.Errorf("%q.Overlaps(%q) = %v", p, q, !overlaps)
			}
		}
	}
}

func TestMatchDoesNotAllocate(t *testing.T) {
	p := MustParse("user_service.*.events.>")
	if n := testing.AllocsPerRun(100, func() { p.Match("user_service.x.events.all.of.them") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestMustParsePanicsOnWhatIsNoPattern(t *testing.T) {
	defer func() {
		if _, ok := recover().(*SyntaxError); !ok {
			t.Error("no SyntaxError")
		}
	}()
	MustParse("a..b")
}

var nameGrammar = regexp.MustCompile(`\A[a-z0-9][a-z0-9_-]*(\.[a-z0-9_-]+)*\z`)

// asRegexp is the grammar of patterns a second time, by other means.
func asRegexp(p string) *regexp.Regexp {
	s := regexp.QuoteMeta(p)
	s = strings.ReplaceAll(s, `\*`, `[a-z0-9_-]+`)
	s = strings.ReplaceAll(s, `>`, `[a-z0-9_-]+(\.[a-z0-9_-]+)*`)
	return regexp.MustCompile(`\A` + s + `\z`)
}

// FuzzPattern compares the package with regular expressions.
func FuzzPattern(f *testing.F) {
	for _, s := range []string{
		"a", "user.*", "user.>", ">", "*", "*.*.x", "a..b", "_a", "a.>.b", "A", "", "a.**", "\xff", "a.b.c.d",
	} {
		f.Add(s, "user.registered", "a.>")
		f.Add(s, s, "*")
	}
	grammar := regexp.MustCompile(`\A([a-z0-9][a-z0-9_-]*|\*|>\z)(\.([a-z0-9_-]+|\*|>\z))*\z`)
	f.Fuzz(func(t *testing.T, text, name, other string) {
		isName := len(name) <= MaxLen && nameGrammar.MatchString(name)
		if err := CheckName(name); (err == nil) != isName {
			t.Fatalf("CheckName(%q) = %v", name, err)
		}
		p, err := Parse(text)
		if isPattern := len(text) <= MaxLen && grammar.MatchString(text); (err == nil) != isPattern {
			t.Fatalf("Parse(%q) = %v", text, err)
		}
		if err != nil {
			if len(err.Error()) > 10*MaxLen {
				t.Fatalf("an error of %d bytes", len(err.Error()))
			}
			return
		}
		if want := isName && asRegexp(text).MatchString(name); p.Match(name) != want {
			t.Fatalf("%q.Match(%q) = %v", p, name, !want)
		}
		q, err := Parse(other)
		if err != nil {
			return
		}
		if p.Overlaps(q) != q.Overlaps(p) || p.Covers(q) && !p.Overlaps(q) || !p.Covers(p) {
			t.Fatalf("%q and %q: Covers and Overlaps contradict each other", p, q)
		}
		if p.Match(name) && q.Match(name) && !p.Overlaps(q) || q.Match(name) && !p.Match(name) && p.Covers(q) {
			t.Fatalf("%q and %q: %q shows that Covers or Overlaps is wrong", p, q, name)
		}
	})
}

func BenchmarkMatch(b *testing.B) {
	for _, s := range []string{"role.assigned", "role.*", "*.assigned", ">"} {
		p := MustParse(s)
		b.Run(s, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if !p.Match("role.assigned") {
					b.Fatal("no match")
				}
			}
		})
	}
}
