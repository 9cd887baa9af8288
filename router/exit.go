package router

import (
	"fmt"
	"slices"
	"strings"

	"github.com/eventbus-go/eventbus/internal/pattern"
)

// An Exit is a way out of the process that rules name: a broker, and the one that stands in for it.
type Exit struct {
	// Broker is the name of the broker that the rules send to. Empty where the Config names no brokers and the rule names
	// none: the default one.
	Broker string
	// Fallback is the name of the broker that takes the messages while the first one is unavailable; empty for none.
	Fallback string
}

// A Leg is the part of a route that leaves by one exit. It never changes.
type Leg struct {
	// Exit is an index into what [Router.Exits] returns.
	Exit int
	// Channels are whole names, none twice, in the order in which the rules first named them.
	Channels []string
}

// Exits returns the ways out: first every broker by itself, in the order of Config.Brokers, the default one first; then
// each pair of a broker and a fallback that a rule names. Of a Config without Brokers it is the default one, and then what
// the rules name. It never changes.
func (r *Router) Exits() []Exit { return slices.Clone(r.exits) }

// ExitsOf returns the exits that a channel leaves by, as indexes into Exits: one for each broker that the rules send it to,
// none where no rule names it. Nobody modifies what it returns.
func (r *Router) ExitsOf(channel string) []int { return r.byChannel[channel] }

// ChannelsOf returns the channels that the rules send to a broker, whole and sorted: with those that it may get as a
// fallback.
func (r *Router) ChannelsOf(broker string) []string {
	var all []string
	for _, c := range r.rules {
		if e := r.exits[c.exit]; e.Broker == broker || e.Fallback == broker && broker != "" {
			all = append(all, c.channels...)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// BrokersOf returns the brokers that the rules send the channels that p matches to, the fallbacks included, in the order of
// Exits. It returns nil where no rule names such a channel.
func (r *Router) BrokersOf(p Pattern) []string {
	wanted := make(map[string]bool)
	for _, c := range r.rules {
		if slices.ContainsFunc(c.channels, p.Match) {
			wanted[r.exits[c.exit].Broker] = true
			wanted[r.exits[c.exit].Fallback] = r.exits[c.exit].Fallback != ""
		}
	}
	var brokers []string
	for _, e := range r.exits {
		if wanted[e.Broker] && e.Fallback == "" {
			brokers = append(brokers, e.Broker)
		}
	}
	return brokers
}

// setExits begins with the brokers by themselves.
func (r *Router) setExits(cfg *Config) error {
	names := cfg.Brokers
	if len(names) == 0 {
		names = []string{""}
		for _, rule := range cfg.Rules {
			names = append(names, rule.Broker, rule.Fallback)
		}
	}
	for _, name := range cfg.Brokers {
		if err := CheckBroker(name); err != nil {
			return &ConfigError{Rule: -1, Item: -1, Field: "brokers", Problem: err.Error(), Err: err}
		}
	}
	for _, name := range names {
		if name == "" && len(r.exits) > 0 {
			continue
		}
		if !slices.Contains(r.exits, Exit{Broker: name}) {
			r.exits = append(r.exits, Exit{Broker: name})
		}
	}
	return nil
}

// CheckBroker checks the name of a broker: what a channel's name may be, without dots.
func CheckBroker(name string) error {
	if err := pattern.CheckName(name); err != nil || strings.Contains(name, ".") {
		return fmt.Errorf("%.40q is no name for a broker: use small letters, digits, _ and -", name)
	}
	return nil
}

// findExit sets the exit of a rule.
func (r *Router) findExit(c *rule, known []string) error {
	e := Exit{Broker: c.Broker, Fallback: c.Fallback}
	if e.Broker == "" {
		e.Broker = r.exits[0].Broker
	}
	for _, named := range []struct{ field, name string }{{"broker", e.Broker}, {"fallback", e.Fallback}} {
		if named.name == "" || len(known) > 0 && slices.Contains(known, named.name) {
			continue
		}
		if err := CheckBroker(named.name); err != nil {
			return c.wrong(named.field, -1, err, err.Error(), "")
		}
		if len(known) > 0 {
			return c.wrong(named.field, -1, nil, fmt.Sprintf("there is no broker %q", named.name),
				"name one of "+shorten(known, maxListed)+", or add it to brokers")
		}
	}
	if e.Fallback == e.Broker && e.Fallback != "" {
		return c.wrong("fallback", -1, nil, fmt.Sprintf("%q is the broker that the rule sends to", e.Fallback),
			"name another one, or take fallback away")
	}
	if c.exit = slices.Index(r.exits, e); c.exit < 0 {
		c.exit = len(r.exits)
		r.exits = append(r.exits, e)
	}
	return nil
}

// checkFallback refuses a rule that gives a channel another fallback than a rule above: a channel's order is that of one
// exit.
func (r *Router) checkFallback(c *rule) error {
	exit := r.exits[c.exit]
	for _, above := range r.rules {
		other := r.exits[above.exit]
		if other.Broker != exit.Broker || other.Fallback == exit.Fallback {
			continue
		}
		for _, ch := range c.channels {
			if slices.Contains(above.channels, ch) {
				return c.wrong("fallback", -1, nil, fmt.Sprintf("channel %s has %s here and %s in %s", ch,
					fallbackText(exit), fallbackText(other), ruleLabel(above.index, above.Name)),
					"give a channel the same fallback in all rules that send to it")
			}
		}
	}
	return nil
}

func fallbackText(e Exit) string {
	if e.Fallback == "" {
		return "no fallback"
	}
	return "the fallback " + e.Fallback
}

// place is how people read where a rule sends: nothing for the default broker without a fallback.
func (r *Router) place(c *rule) string {
	e := r.exits[c.exit]
	text := ""
	if e.Broker != r.exits[0].Broker {
		text = " on " + e.Broker
	}
	if e.Fallback != "" {
		text += " or else " + e.Fallback
	}
	return text
}
