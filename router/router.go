package router

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/eventbus-go/eventbus/internal/pattern"
)

// A Router says which channels an event goes to. It never changes and is safe for concurrent use.
type Router struct {
	rules []*rule
	exits []Exit
	// byChannel has, for each channel that the rules name, the exits that it leaves by, in the order of the rules.
	byChannel map[string][]int
	cache     *routeCache
}

// New checks cfg and makes a Router of it, which keeps no reference to it. Its error is a [*ConfigError], about the first
// thing that is wrong:
//
//   - a pattern, a channel, a prefix or a priority that is none; a wildcard in a channel;
//   - a rule without patterns or channels, or whose condition cannot hold; no rule at all;
//   - two rules of one name;
//   - a broker that is not among Config.Brokers, or two fallbacks for one channel of a broker;
//   - a rule that is never reached, because rules above it that say Stop match all that it could.
func New(cfg Config) (*Router, error) {
	if cfg.Prefix != "" {
		if err := pattern.CheckName(cfg.Prefix); err != nil {
			return nil, &ConfigError{Rule: -1, Item: -1, Field: "prefix", Problem: err.Error(), Err: err}
		}
	}
	if len(cfg.Rules) == 0 {
		return nil, &ConfigError{
			Rule: -1, Item: -1, Field: "rules", Problem: "there is none, so no event could go anywhere",
			Remedy: "add rules, or leave the configuration out for the default ones",
		}
	}
	r := &Router{cache: newRouteCache(), byChannel: make(map[string][]int)}
	if err := r.setExits(&cfg); err != nil {
		return nil, err
	}
	for i, in := range cfg.Rules {
		c, err := compile(i, in, cfg.Prefix)
		if err != nil {
			return nil, err
		}
		if err := cmp.Or(r.findExit(c, cfg.Brokers), r.fits(c), r.checkFallback(c)); err != nil {
			return nil, err
		}
		r.rules = append(r.rules, c)
		for _, ch := range c.channels {
			if !slices.Contains(r.byChannel[ch], c.exit) {
				r.byChannel[ch] = append(r.byChannel[ch], c.exit)
			}
		}
	}
	return r, nil
}

// fits checks a rule against those above it.
func (r *Router) fits(c *rule) error {
	for _, above := range r.rules {
		if c.Name != "" && above.Name == c.Name {
			return c.wrong("name", -1, nil, fmt.Sprintf("rules[%d] has the same name", above.index), "rename one of them")
		}
	}
	if by := r.hiding(c); by != nil {
		return c.wrong("", -1, nil, "it is never reached: all that it could match stops at "+strings.Join(by, " and "),
			"move it up, or take stop away")
	}
	return nil
}

// hiding returns the stop rules that leave nothing for c to match, each for some of its patterns; nil where there is
// something left, as far as single rules and patterns show it.
func (r *Router) hiding(c *rule) (labels []string) {
	for _, p := range c.match {
		i := slices.IndexFunc(r.rules, func(above *rule) bool { return above.Stop && above.hides(p, c) })
		if i < 0 {
			return nil
		}
		if l := ruleLabel(i, r.rules[i].Name); !slices.Contains(labels, l) {
			labels = append(labels, l)
		}
	}
	return labels
}

// hides reports whether a matches whatever c matches by its pattern p.
func (a *rule) hides(p Pattern, c *rule) bool {
	return slices.ContainsFunc(a.match, func(q Pattern) bool { return q.Covers(p) }) && a.conditionCovers(c)
}

// conditionCovers reports whether a's condition holds wherever c's does.
func (a *rule) conditionCovers(c *rule) bool {
	if c.mask&^a.mask != 0 {
		return false
	}
	if len(a.sources) == 0 {
		return true
	}
	return len(c.sources) > 0 && !slices.ContainsFunc(c.sources, func(s sourceMatch) bool {
		return !slices.ContainsFunc(a.sources, func(wider sourceMatch) bool { return wider.covers(s) })
	})
}

// Channels returns all channels that the rules name, whole and sorted.
func (r *Router) Channels() []string {
	var all []string
	for _, c := range r.rules {
		all = append(all, c.channels...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}
