package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	kafkago "github.com/segmentio/kafka-go"

	"github.com/eventbus-go/eventbus/brokers"
)

var _ brokers.Provisioner = (*conn)(nil)

// Provision creates the topics that are missing, and gives each group a place in every partition of the topics that it reads
// and has none in. It needs CREATE on the topics or the cluster, DESCRIBE on the topics, and READ on the topics and the groups.
func (c *conn) Provision(ctx context.Context, p brokers.Provision) error {
	if !c.calls.Enter() {
		return brokers.ErrClosed
	}
	defer c.calls.Leave()
	names, groups, err := readProvision(p)
	if err != nil {
		return err
	}
	topics, failed, err := c.cluster.ensure(ctx, names)
	if err != nil {
		return err
	}
	for _, name := range names {
		if topics[name] == nil {
			return failed[name]
		}
	}
	for _, g := range groups {
		if err := c.placeInTime(ctx, g, topics); err != nil {
			return fmt.Errorf("group %q: %w", g.name, needs(err, "READ on the group and its topics"))
		}
	}
	return nil
}

// A groupPlan is a group and the patterns that it reads.
type groupPlan struct {
	name     string
	start    brokers.Start
	patterns []brokers.Pattern
}

// readProvision returns the topics that have to be there, and the groups.
func readProvision(p brokers.Provision) (names []string, groups []groupPlan, err error) {
	for _, name := range p.Channels {
		if err := brokers.CheckChannel(name); err != nil {
			return nil, nil, badChannel{err}
		}
		names = append(names, name)
	}
	for _, g := range p.Groups {
		plan := groupPlan{name: g.Group, start: g.Start}
		for _, channel := range g.Channels {
			pattern, err := brokers.ParsePattern(channel)
			if err != nil {
				return nil, nil, badChannel{err}
			}
			plan.patterns = append(plan.patterns, pattern)
			if pattern.Literal() {
				names = append(names, channel)
			}
		}
		groups = append(groups, plan)
	}
	slices.Sort(names)
	return slices.Compact(names), groups, nil
}

// missingTopic says why a topic cannot be had.
func missingTopic(name string, create bool, err error) error {
	if !create {
		return badChannel{fmt.Errorf("topic %q does not exist or the user may not DESCRIBE it, and create=false forbids to "+
			"create it", name)}
	}
	return fmt.Errorf("topic %q cannot be created: %w", name, needs(err, "CREATE on the topic or the cluster"))
}

// needs adds the right that the broker did not see.
func needs(err error, right string) error {
	if !refused(err) {
		return err
	}
	return fmt.Errorf("%w (the user needs %s)", err, right)
}

// placeInTime is place, again and again while the broker says that it is not ready yet: the first group of a cluster waits for the
// topic in which groups are kept.
func (c *conn) placeInTime(ctx context.Context, g groupPlan, topics map[string]*topic) error {
	for {
		err := c.place(ctx, g, topics)
		if code, coded := codeOf(err); !coded || !passing[code] {
			return err
		}
		t := time.NewTimer(pauseOnError)
		select {
		case <-t.C:
		case <-ctx.Done():
		case <-c.life.Done():
		}
		t.Stop()
		if ctx.Err() != nil || c.life.Err() != nil {
			return err
		}
	}
}

// place commits where a group begins in the partitions in which it has no place yet.
func (c *conn) place(ctx context.Context, g groupPlan, topics map[string]*topic) error {
	var parts []tp
	for name, t := range topics {
		if matches(g.patterns, name) {
			for _, id := range t.ids {
				parts = append(parts, tp{name, id})
			}
		}
	}
	committed, err := c.committedOffsets(ctx, g.name, parts)
	if err != nil {
		return err
	}
	var without []tp
	for _, at := range parts {
		if committed[at] < 0 {
			without = append(without, at)
		}
	}
	which := int64(kafkago.FirstOffset)
	if g.start == brokers.StartNow {
		which = kafkago.LastOffset
	}
	begin, err := c.offsets(ctx, without, which)
	if err != nil || len(begin) == 0 {
		return err
	}
	err = c.commitOffsets(ctx, holder{group: g.name, generation: -1}, begin)
	if errors.Is(err, kafkago.UnknownMemberId) || errors.Is(err, kafkago.RebalanceInProgress) {
		return nil // the group has members: it exists, and they find their places by themselves
	}
	return err
}

func matches(patterns []brokers.Pattern, name string) bool {
	for _, p := range patterns {
		if p.Match(name) {
			return true
		}
	}
	return false
}
