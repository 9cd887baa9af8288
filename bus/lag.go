package bus

import (
	"context"
	"slices"
	"strings"

	"github.com/eventbus-go/eventbus/brokers"
)

// A GroupLag is how far a group is behind on one channel of one broker, or on a pattern whose channels the broker does not tell
// apart: see [brokers.Lagger].
type GroupLag struct {
	// Broker is its name; a single one is called [DefaultBroker].
	Broker string
	Group  string
	brokers.Lag
}

// Lag returns how far the groups of this bus's subscriptions are behind, for each channel that they read, by broker, group
// and channel. Brokers are asked all at once; one that does not know has no entries. Of a pattern it asks for the channels
// that the rules name; RabbitMQ keeps what matches a pattern in one queue, whose lag is there once, under the pattern. Where some brokers do not answer, which a [*BrokerError] says of each, it returns what the others say.
// It waits for the brokers until ctx ends.
func (b *Bus) Lag(ctx context.Context) ([]GroupLag, error) {
	if b.closed.Load() {
		return nil, ErrClosed
	}
	perLink := make([][]GroupLag, len(b.links))
	err := eachLink(b.links, func(i int, l *link) (err error) {
		perLink[i], err = b.lagOn(ctx, l)
		return err
	})
	return slices.Concat(perLink...), err
}

func (b *Bus) lagOn(ctx context.Context, l *link) (lags []GroupLag, err error) {
	if l.lagger == nil {
		return nil, nil
	}
	for _, g := range b.groupsOn(l) {
		var some []brokers.Lag
		if p := l.guard("driver", func() { some, err = l.lagger.Lag(ctx, g.Group, b.namesOn(l, g.Channels)) }); p != nil {
			err = p
		}
		if err != nil {
			return lags, l.wrong("its lag is not known", err)
		}
		slices.SortStableFunc(some, func(a, b brokers.Lag) int { return strings.Compare(a.Channel, b.Channel) })
		for _, lag := range some {
			lags = append(lags, GroupLag{Broker: l.name, Group: g.Group, Lag: lag})
		}
	}
	return lags, nil
}

// groupsOn returns the groups of the subscriptions that read a broker, by name, with all patterns that they read there.
func (b *Bus) groupsOn(l *link) []brokers.GroupProvision {
	byName := make(map[string]*brokers.GroupProvision)
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range b.subs {
		for _, f := range c.feeds {
			if f.link != l || c.sub.Group == "" {
				continue
			}
			g := byName[c.sub.Group]
			if g == nil {
				g = &brokers.GroupProvision{Group: c.sub.Group, Start: c.sub.Start}
				byName[c.sub.Group] = g
			}
			g.Start = min(g.Start, c.sub.Start) // the first retained message, where any of them wants that
			g.Channels = append(g.Channels, f.channels...)
		}
	}
	groups := make([]brokers.GroupProvision, 0, len(byName))
	for _, g := range byName {
		slices.Sort(g.Channels)
		g.Channels = slices.Compact(g.Channels)
		groups = append(groups, *g)
	}
	slices.SortFunc(groups, func(a, b brokers.GroupProvision) int { return strings.Compare(a.Group, b.Group) })
	return groups
}

// namesOn returns the channels that patterns stand for on a broker: names themselves, and those of the rules that they match.
func (b *Bus) namesOn(l *link, patterns []string) []string {
	var names []string
	for _, s := range patterns {
		p, err := brokers.ParsePattern(s)
		if err == nil && p.Literal() {
			names = append(names, s)
			continue
		}
		for _, ch := range b.router.ChannelsOf(l.name) {
			if p.Match(ch) {
				names = append(names, ch)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
