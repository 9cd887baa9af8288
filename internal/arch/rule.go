package arch

import (
	"fmt"
	"strings"
)

// A Rule is something that holds for the whole repository.
type Rule struct {
	// Name is the rule in a sentence.
	Name string
	// Why it is a rule, and the Remedy for what breaks it.
	Why, Remedy string
	// Check returns what breaks it. It is a pure function of the repository.
	Check func(*Repo) []Finding
}

// A Finding is one place that breaks a rule.
type Finding struct {
	// Place is a file, with a line where there is one, or a package.
	Place string
	// Text says what is wrong there.
	Text string
}

// Report explains findings to whoever has to mend them. It returns "" where there are none.
func (r Rule) Report(findings []Finding) string {
	if len(findings) == 0 {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "the rule is: %s\n  why:    %s\n  remedy: %s\n", r.Name, r.Why, r.Remedy)
	for _, f := range findings {
		fmt.Fprintf(&b, "  %s: %s\n", f.Place, f.Text)
	}
	return b.String()
}

// Rules returns all rules.
func Rules() []Rule {
	var all []Rule
	for _, file := range [][]Rule{
		importRules, linkRules, docRules, mentionRules, codeRules, goroutineRules, testRules, textRules, moduleRules,
	} {
		all = append(all, file...)
	}
	return all
}
