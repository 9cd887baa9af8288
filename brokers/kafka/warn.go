package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/eventbus-go/eventbus/brokers"
)

var _ brokers.Warner = (*conn)(nil)

// What of a subscription may fail and is tried again.
const (
	keeping = iota // having partitions at all
	committing
	beating
	troubles
)

// Warnings returns what subscriptions try again just now, and why: see brokers.Warner.
func (c *conn) Warnings() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []string
	for s := range c.subs {
		out = append(out, s.warnings()...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// note notes what a part of a subscription's work ended with. The first error stays until the work succeeds.
func (s *subscription) note(what int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil || s.trouble[what] == nil && !errors.Is(err, context.Canceled) {
		s.trouble[what] = err
	}
}

func (s *subscription) warnings() (out []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	warn := func(problem string, err error) {
		if err != nil {
			out = append(out, fmt.Sprintf("the subscription %q %s, which is tried again: %v", s.spec.Name, problem, err))
		}
	}
	warn("has no partitions", s.trouble[keeping])
	warn("cannot commit, so that what is handled comes again if the process dies", s.trouble[committing])
	warn("cannot show its group that it lives, so that others will get its partitions", s.trouble[beating])
	for _, p := range s.order {
		if p.failure != nil {
			warn(fmt.Sprintf("gets nothing of partition %d of %s", p.id, p.topic), p.failure)
			break // one tells of all that a broker leads
		}
	}
	return out
}
