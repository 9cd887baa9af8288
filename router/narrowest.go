package router

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Narrowest returns the channel that a subscriber to all the given event types is best off with: one that carries every
// event whose type any of them matches, and as little else as possible.
//
// It judges by the patterns, since the rules do not know which types there are. A channel carries a type pattern where a
// rule without a condition names the channel and has a pattern that covers it, and no rule above that says Stop could
// take some of its events away from the channel. Of two channels that carry all the types, the narrower is the one with
// fewer patterns that end in ">", then with fewer that contain "*", then with fewer patterns at all, counted over all
// rules that name it, with or without a condition; then the one that the rules name first.
//
// The error, where no channel carries them all, says for each pattern which do, and the remedy.
func (r *Router) Narrowest(types []Pattern) (channel string, err error) {
	if len(types) == 0 {
		return "", errors.New("router: no event type is given to choose a channel for; name at least one, or a channel")
	}
	var best *breadth
	for _, b := range r.breadths() {
		carries := !slices.ContainsFunc(types, func(t Pattern) bool { return !r.carries(b.channel, t) })
		if carries && (best == nil || b.compare(best) < 0) {
			best = b
		}
	}
	if best == nil {
		return "", r.noneCarries(types)
	}
	return best.channel, nil
}

// carries reports whether every event whose type t matches goes to the channel, as far as single patterns show it.
func (r *Router) carries(channel string, t Pattern) bool {
	for _, c := range r.rules {
		names := slices.Contains(c.channels, channel)
		switch {
		case names && !c.conditional() && slices.ContainsFunc(c.match, func(p Pattern) bool { return p.Covers(t) }):
			return true
		case !names && c.Stop && slices.ContainsFunc(c.match, func(p Pattern) bool { return p.Overlaps(t) }):
			return false // what stops here never reaches a rule below that names the channel
		}
	}
	return false
}

// A breadth is how much a channel carries, measured by the patterns of the rules that name it.
type breadth struct {
	channel               string
	tails, stars, literal int // patterns with ">", with "*" only, without wildcards
}

func (b *breadth) compare(o *breadth) int {
	return cmp.Or(cmp.Compare(b.tails, o.tails), cmp.Compare(b.stars, o.stars), cmp.Compare(b.literal, o.literal))
}

// breadths measures all channels, in the order in which the rules name them.
func (r *Router) breadths() []*breadth {
	var order []*breadth
	seen := map[string]map[string]bool{} // channel -> patterns counted
	for _, c := range r.rules {
		for _, ch := range c.channels {
			if seen[ch] == nil {
				seen[ch] = map[string]bool{}
				order = append(order, &breadth{channel: ch})
			}
			b := order[slices.IndexFunc(order, func(b *breadth) bool { return b.channel == ch })]
			for _, p := range c.match {
				if !seen[ch][p.String()] {
					seen[ch][p.String()] = true
					b.count(p)
				}
			}
		}
	}
	return order
}

func (b *breadth) count(p Pattern) {
	switch {
	case strings.HasSuffix(p.String(), ">"):
		b.tails++
	case !p.Literal():
		b.stars++
	default:
		b.literal++
	}
}

func (r *Router) noneCarries(types []Pattern) error {
	var parts []string
	for _, t := range types[:min(len(types), maxListed)] {
		var on []string
		for _, b := range r.breadths() {
			if r.carries(b.channel, t) {
				on = append(on, b.channel)
			}
		}
		if on == nil {
			on = []string{"no channel for certain"}
		}
		parts = append(parts, fmt.Sprintf("%s is on %s", t, shorten(on, maxListed)))
	}
	return fmt.Errorf("router: no one channel carries all of the event types: %s; name Channels in the subscription, "+
		"or add a rule without a condition that sends them all to one", strings.Join(parts, "; "))
}
