package nats

import (
	"fmt"

	"github.com/eventbus-go/eventbus/brokers"
)

// badChannel is a channel that cannot be used.
type badChannel struct{ err error }

func (e badChannel) Error() string { return e.err.Error() }
func (e badChannel) Unwrap() error { return e.err }

// readChannels reads the channels of a subscription. One that another covers is left out, so that the server sends no
// message twice where that can be told beforehand. Patterns mean the same to NATS as they do to us.
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

// owns reports whether a message that came for the server's subscription to subject is ours and comes for the first
// time: the server sends it once for each pattern that matches, and it counts for the first of them. Channels of foreign
// clients that our grammar does not know match nothing.
func owns(patterns []brokers.Pattern, subject, channel string) bool {
	for _, p := range patterns {
		if p.Match(channel) {
			return p.String() == subject
		}
	}
	return false
}
