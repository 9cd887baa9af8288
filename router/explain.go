package router

import (
	"fmt"
	"slices"
	"strings"

	"github.com/eventbus-go/eventbus/schema"
)

// An Explanation says for each rule what it did with an event, and why. Its String is for people.
type Explanation struct {
	Type     string
	Source   string
	Priority schema.Priority
	Rules    []RuleExplanation // in their order, all of them
	Channels []string          // where the event goes; empty means nowhere, which Route reports as an error

	to []string // the same with their brokers, for people
}

// A RuleExplanation is what one rule did with an event.
type RuleExplanation struct {
	Rule    string   // the rule's name, or its index as in "rules[2]"
	Matched bool     // whether it contributed
	Pattern string   // the pattern that matched the type, also where the condition did not hold
	Why     string   // why it did not match; empty where it did
	Added   []string // the channels that it was the first to name
	Again   []string // its channels that a rule above had named already
	Stop    bool     // whether it matched and ended the evaluation
	// On is the broker that the channels are on and what stands in for it, as in " on audit or else main". It is empty for
	// the default broker without a fallback.
	On string
}

// Explain evaluates the rules for an event as [Router.Route] does, and says for each what it did and why. It is for people
// and tools, and not cached.
func (r *Router) Explain(e schema.Event) Explanation {
	x := Explanation{Type: e.Type, Source: e.Source, Priority: e.Priority}
	stopped := ""
	for _, c := range r.rules {
		one := RuleExplanation{Rule: c.label()}
		if stopped != "" {
			one.Why = "not reached, " + stopped + " says stop"
		} else {
			c.explain(&e, &one)
		}
		if one.Matched {
			one.On = r.place(c)
			x.contribute(c, &one)
		}
		if one.Stop {
			stopped = c.label()
		}
		x.Rules = append(x.Rules, one)
	}
	return x
}

// explain says whether c matches e, and why not.
func (r *rule) explain(e *schema.Event, one *RuleExplanation) {
	i := r.matching(e.Type)
	if i < 0 {
		one.Why = "no match: " + shorten(r.Match, maxListed)
		return
	}
	one.Pattern = r.Match[i]
	switch {
	case !r.allowsSource(e.Source):
		one.Why = fmt.Sprintf("%s matches, but the source is not %s", one.Pattern, strings.Join(r.When.Sources, " or "))
	case !r.allowsPriority(e.Priority):
		one.Why = fmt.Sprintf("%s matches, but the condition is %v", one.Pattern, r.When)
	default:
		one.Matched, one.Stop = true, r.Stop
	}
}

func (x *Explanation) contribute(c *rule, one *RuleExplanation) {
	for _, ch := range c.channels {
		to := ch + one.On
		if slices.Contains(x.to, to) {
			one.Again = append(one.Again, ch)
			continue
		}
		one.Added = append(one.Added, ch)
		x.to = append(x.to, to)
		if !slices.Contains(x.Channels, ch) {
			x.Channels = append(x.Channels, ch)
		}
	}
}

// String returns the explanation as a small table: one line per rule, with a plus for those that matched, and the result.
func (x Explanation) String() string {
	width := 0
	for _, one := range x.Rules {
		width = max(width, len(one.Rule))
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s from %s, priority %v\n", orNone(x.Type, "(no type)"), orNone(x.Source, "(no source)"), x.Priority)
	for _, one := range x.Rules {
		fmt.Fprintf(&b, "  %s\n", strings.TrimRight(one.line(width), " "))
	}
	if len(x.to) == 0 {
		b.WriteString("goes nowhere: no rule matches")
	} else {
		b.WriteString("goes to " + strings.Join(x.to, ", "))
	}
	return b.String()
}

func (one RuleExplanation) line(width int) string {
	if !one.Matched {
		return fmt.Sprintf("- %-*s  %s", width, one.Rule, one.Why)
	}
	var to []string
	if len(one.Added) > 0 {
		to = append(to, strings.Join(one.Added, ", "))
	}
	if len(one.Again) > 0 {
		to = append(to, strings.Join(one.Again, ", ")+" (already)")
	}
	line := fmt.Sprintf("+ %-*s  %s -> %s", width, one.Rule, one.Pattern, strings.Join(to, ", ")+one.On)
	if one.Stop {
		line += ", stop"
	}
	return line
}

func orNone(s, none string) string {
	if s == "" {
		return none
	}
	return s
}
