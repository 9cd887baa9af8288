package router

import (
	"fmt"
	"slices"
	"strings"

	"github.com/eventbus-go/eventbus/internal/pattern"
	"github.com/eventbus-go/eventbus/schema"
)

// A rule is a Rule made ready for matching. It never changes.
type rule struct {
	Rule         // as it was given, cloned
	index    int // in the Config
	match    []Pattern
	sources  []sourceMatch // empty: all
	mask     priorities
	channels []string // whole names, none twice
	exit     int      // of the Router
}

// A sourceMatch matches the name of a publishing service: by a pattern, or literally where it is no name by the grammar,
// such as "User-Service".
type sourceMatch struct {
	literal string
	pattern Pattern
}

func (s sourceMatch) match(source string) bool {
	return s.literal == source && source != "" || s.pattern.Match(source)
}

func (s sourceMatch) covers(o sourceMatch) bool {
	if o.literal != "" {
		return s.match(o.literal)
	}
	return s.pattern.Covers(o.pattern)
}

// priorities is a set of them, one bit each.
type priorities uint8

const allPriorities priorities = 1<<(schema.Critical-schema.Low+1) - 1

func (m priorities) has(p schema.Priority) bool {
	return p.Valid() && m&(1<<(p-schema.Low)) != 0
}

// conditional reports whether r looks at more than the event's type.
func (r *rule) conditional() bool { return len(r.sources) > 0 || r.mask != allPriorities }

// matching returns the index of the first pattern that matches the type, or -1.
func (r *rule) matching(eventType string) int {
	return slices.IndexFunc(r.match, func(p Pattern) bool { return p.Match(eventType) })
}

func (r *rule) allowsSource(source string) bool {
	return len(r.sources) == 0 ||
		slices.ContainsFunc(r.sources, func(s sourceMatch) bool { return s.match(source) })
}

// allowsPriority is true for a priority that is none of the four where the rule does not ask for any.
func (r *rule) allowsPriority(p schema.Priority) bool {
	return r.mask == allPriorities || r.mask.has(p)
}

func (r *rule) applies(eventType, source string, p schema.Priority) bool {
	return r.matching(eventType) >= 0 && r.allowsSource(source) && r.allowsPriority(p)
}

// label is the rule's name in lists: the name, or the index.
func (r *rule) label() string {
	if r.Name == "" {
		return fmt.Sprintf("rules[%d]", r.index)
	}
	return r.Name
}

// summary is the rule in one line: its label, its patterns and its condition.
func (r *rule) summary() string {
	s := r.label() + " (" + shorten(r.Match, maxListed)
	if r.conditional() {
		s += " when " + r.When.String()
	}
	return s + ")"
}

// maxListed is how many patterns or names a text lists in one place.
const maxListed = 8

// String returns the condition as people read it, such as "source shop, priority high or more"; "always" where nothing
// is set.
func (c Condition) String() string {
	var parts []string
	if len(c.Sources) > 0 {
		parts = append(parts, "source "+strings.Join(c.Sources, " or "))
	}
	if len(c.Priorities) > 0 {
		names := make([]string, len(c.Priorities))
		for i, p := range c.Priorities {
			names[i] = p.String()
		}
		parts = append(parts, "priority "+strings.Join(names, " or "))
	}
	if c.MinPriority != nil {
		parts = append(parts, "priority "+c.MinPriority.String()+" or more")
	}
	if len(parts) == 0 {
		return "always"
	}
	return strings.Join(parts, ", ")
}

// compile checks one rule by itself and makes it ready for matching.
func compile(index int, in Rule, prefix string) (*rule, error) {
	r := &rule{Rule: in.clone(), index: index}
	for _, step := range []func() error{r.checkName, r.compileMatch, r.compileSources, r.compilePriorities} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return r, r.compileChannels(prefix)
}

func (in Rule) clone() Rule {
	in.Match, in.Channels = slices.Clone(in.Match), slices.Clone(in.Channels)
	in.When.Sources, in.When.Priorities = slices.Clone(in.When.Sources), slices.Clone(in.When.Priorities)
	if in.When.MinPriority != nil {
		p := *in.When.MinPriority
		in.When.MinPriority = &p
	}
	return in
}

// wrong makes the error about a field of r; item is -1 where it is not about one of a list.
func (r *rule) wrong(field string, item int, err error, problem, remedy string) *ConfigError {
	return &ConfigError{
		Rule: r.index, Name: r.Name, Field: field, Item: item, Problem: problem, Remedy: remedy, Err: err,
	}
}

// maxText is the length in bytes of the longest rule name, and of the longest source, whose own limit it is.
const maxText = 128

func (r *rule) checkName() error {
	if len(r.Name) > maxText || !printable(r.Name) {
		name := r.Name
		r.Name = ""
		return r.wrong("name", -1, nil, fmt.Sprintf("%.40q is no name for a rule", name),
			fmt.Sprintf("use at most %d bytes and no control characters", maxText))
	}
	return nil
}

func (r *rule) compileMatch() error {
	if len(r.Match) == 0 {
		return r.wrong("match", -1, nil, "no pattern is given", `name the event types, such as role.*, or ">" for all`)
	}
	for i, s := range r.Match {
		p, err := pattern.Parse(s)
		if err != nil {
			return r.wrong("match", i, err, err.Error(), "")
		}
		r.match = append(r.match, p)
	}
	return nil
}

func (r *rule) compileSources() error {
	for i, s := range r.When.Sources {
		p, err := pattern.Parse(s)
		switch {
		case err == nil:
			r.sources = append(r.sources, sourceMatch{pattern: p})
		case s == "" || strings.ContainsAny(s, "*>"):
			return r.wrong("when.sources", i, err, err.Error(), "")
		case len(s) > maxText || !printable(s):
			return r.wrong("when.sources", i, nil, fmt.Sprintf("%.40q is no name of a service", s),
				fmt.Sprintf("use at most %d bytes and no control characters", maxText))
		default:
			r.sources = append(r.sources, sourceMatch{literal: s})
		}
	}
	return nil
}

func (r *rule) compilePriorities() error {
	r.mask = allPriorities
	if len(r.When.Priorities) > 0 {
		r.mask = 0
	}
	for i, p := range r.When.Priorities {
		if !p.Valid() {
			return r.wrong("when.priorities", i, nil, fmt.Sprintf("%v is no priority", p), knownPriorities)
		}
		r.mask |= 1 << (p - schema.Low)
	}
	if lowest := r.When.MinPriority; lowest != nil {
		if !lowest.Valid() {
			return r.wrong("when.min_priority", -1, nil, fmt.Sprintf("%v is no priority", *lowest), knownPriorities)
		}
		r.mask &= allPriorities << (*lowest - schema.Low)
	}
	if r.mask == 0 {
		return r.wrong("when", -1, nil, "none of the priorities is at least "+r.When.MinPriority.String()+
			", so the rule matches nothing", "keep priorities or min_priority, not both")
	}
	return nil
}

const knownPriorities = "use low, normal, high or critical"

func (r *rule) compileChannels(prefix string) error {
	if len(r.Channels) == 0 {
		return r.wrong("channels", -1, nil, "no channel is given", "name at least one, such as audit")
	}
	for i, s := range r.Channels {
		if err := pattern.CheckName(s); err != nil {
			return r.wrong("channels", i, err, err.Error(), "")
		}
		if prefix != "" {
			s = prefix + "." + s
		}
		if err := pattern.CheckName(s); err != nil { // the whole may be too long
			return r.wrong("channels", i, err, err.Error(), "shorten the channel or the prefix")
		}
		if !slices.Contains(r.channels, s) {
			r.channels = append(r.channels, s)
		}
	}
	return nil
}

func printable(s string) bool {
	return !strings.ContainsFunc(s, func(c rune) bool { return c < ' ' || c == 0x7f || c == '\u2028' || c == '\ufffd' })
}
