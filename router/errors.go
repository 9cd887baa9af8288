package router

import (
	"fmt"
	"strings"

	"github.com/eventbus-go/eventbus/schema"
)

// A ConfigError says what is wrong with a Config, where, and what to do about it.
type ConfigError struct {
	Rule    int    // the index of the rule, from 0; -1 where it is not about one
	Name    string // the name of that rule, if it has one
	Field   string // the field as YAML calls it, such as "match" or "when.sources"
	Item    int    // the index in that field's list; -1 where it is not about one
	Problem string // what is wrong
	Remedy  string // what to do; empty where the problem says it
	Err     error  // what found it out, such as the error of ParsePattern; may be nil
}

// Error names the rule by index and name, the field, the problem and the remedy.
func (e *ConfigError) Error() string {
	var b strings.Builder
	b.WriteString("router: ")
	if e.Rule >= 0 {
		b.WriteString(ruleLabel(e.Rule, e.Name))
		b.WriteString(": ")
	}
	if e.Field != "" {
		b.WriteString(e.Field)
		if e.Item >= 0 {
			fmt.Fprintf(&b, "[%d]", e.Item)
		}
		b.WriteString(": ")
	}
	b.WriteString(e.Problem)
	if e.Remedy != "" {
		b.WriteString("; " + e.Remedy)
	}
	return b.String()
}

// Unwrap returns Err.
func (e *ConfigError) Unwrap() error { return e.Err }

// Path returns where in a YAML file the problem is: keys and indexes from the top, such as "rules", 2, "match", 0.
func (e *ConfigError) Path() []any {
	var path []any
	if e.Rule >= 0 {
		path = append(path, "rules", e.Rule)
	}
	if e.Field != "" {
		for _, key := range strings.Split(e.Field, ".") {
			path = append(path, key)
		}
		if e.Item >= 0 {
			path = append(path, e.Item)
		}
	}
	return path
}

// A NoRouteError says that no rule sends an event anywhere.
type NoRouteError struct {
	Type     string
	Source   string
	Priority schema.Priority
	Tried    []string // the rules that were tried, each with its patterns and its condition
}

// maxTried is how many rules the text of a NoRouteError lists.
const maxTried = 10

// Error names the event, the rules that were tried, at most 10 of them, and the remedy.
func (e *NoRouteError) Error() string {
	tried := e.Tried
	more := ""
	if len(tried) > maxTried {
		tried, more = tried[:maxTried], fmt.Sprintf("; and %d more", len(tried)-maxTried)
	}
	return fmt.Sprintf("router: no rule sends %q (source %q, priority %v) anywhere; tried %s%s; "+
		`add a rule that matches it, or a last one with match: ">"`,
		e.Type, e.Source, e.Priority, strings.Join(tried, "; "), more)
}

func ruleLabel(index int, name string) string {
	if name == "" {
		return fmt.Sprintf("rules[%d]", index)
	}
	return fmt.Sprintf("rules[%d] (%s)", index, name)
}

// shorten lists words, at most max of them.
func shorten(words []string, max int) string {
	if len(words) <= max {
		return strings.Join(words, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(words[:max], ", "), len(words)-max)
}
