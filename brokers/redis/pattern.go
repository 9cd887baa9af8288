package redis

import (
	"fmt"
	"slices"
	"strings"

	"github.com/eventbus-go/eventbus/brokers"
)

// A plan is what a subscription asks of the server, and which of the messages that come are its own.
type plan struct {
	literals []string // SUBSCRIBE
	globs    []string // PSUBSCRIBE, without duplicates
	patterns []brokers.Pattern
}

// badChannel is a channel of a subscription that cannot be read.
type badChannel struct{ err error }

func (e badChannel) Error() string { return e.err.Error() }
func (e badChannel) Unwrap() error { return e.err }

// newPlan reads the channels of a subscription. A channel that another one covers is left out, so that the server sends
// no message twice where that can be told beforehand.
func newPlan(name string, channels []string) (*plan, error) {
	patterns, err := readChannels(name, channels)
	if err != nil {
		return nil, err
	}
	pl := &plan{}
	for _, p := range patterns {
		pl.add(p)
	}
	return pl, nil
}

// readChannels reads the channels of a subscription, without those that others cover.
func readChannels(name string, channels []string) ([]brokers.Pattern, error) {
	if len(channels) == 0 {
		return nil, badChannel{fmt.Errorf("subscription %q names no channel", name)}
	}
	var all, out []brokers.Pattern
	for _, s := range channels {
		p, err := brokers.ParsePattern(s)
		if err != nil {
			return nil, badChannel{fmt.Errorf("subscription %q: %w", name, err)}
		}
		all = append(all, p)
	}
	for i, p := range all {
		if !coveredByAnother(all, i) {
			out = append(out, p)
		}
	}
	return out, nil
}

// coveredByAnother reports whether all[i] can be left out. Of two that cover each other, the first one stays.
func coveredByAnother(all []brokers.Pattern, i int) bool {
	for j, q := range all {
		if j != i && q.Covers(all[i]) && (j < i || !all[i].Covers(q)) {
			return true
		}
	}
	return false
}

func (pl *plan) add(p brokers.Pattern) {
	if p.Literal() {
		pl.literals = append(pl.literals, p.String())
		return
	}
	glob := globOf(p.String())
	pl.patterns = append(pl.patterns, p)
	if !slices.Contains(pl.globs, glob) {
		pl.globs = append(pl.globs, glob)
	}
}

// confirmations is how many replies the server gives to the plan's SUBSCRIBE and PSUBSCRIBE.
func (pl *plan) confirmations() int { return len(pl.literals) + len(pl.globs) }

// owns reports whether a channel is the subscription's. The server matches too much, since its "*" crosses dots. glob
// is empty for a message that came by SUBSCRIBE.
func (pl *plan) owns(glob, channel string) bool {
	return glob == "" || slices.ContainsFunc(pl.patterns, func(p brokers.Pattern) bool { return p.Match(channel) })
}

// A filter passes each message of one connection on once.
//
// Redis sends a message to a client once for each of its globs that match, one directly after the other. So a message
// is a copy if it is the same as the one before and comes by another glob; if it comes by a glob that this message came
// by already, somebody has published the same twice. Taking only what comes by the first glob that matches would be
// simpler, but miniredis sends a message once, by any glob that matches: a copy too many does less harm than none at
// all.
type filter struct {
	plan  *plan
	last  message
	globs []string // by which the last message came so far
}

func (f *filter) pass(m *message) bool {
	if !f.plan.owns(m.glob, m.channel) {
		return false
	}
	if len(f.plan.globs) < 2 {
		return true // a literal channel is covered by none of the globs, or it would have been left out
	}
	if f.last.equals(m) && !slices.Contains(f.globs, m.glob) {
		f.globs = append(f.globs, m.glob)
		return false
	}
	f.last, f.globs = *m, append(f.globs[:0], m.glob)
	return true
}

// globOf translates a pattern of ours into one for PSUBSCRIBE that matches no less
// (https://redis.io/docs/latest/commands/psubscribe): there "*" is any number of any characters.
func globOf(p string) string {
	var b strings.Builder
	for i := range len(p) {
		switch c := p[i]; c {
		case '>':
			b.WriteByte('*')
		case '?', '[', ']', '^', '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}
