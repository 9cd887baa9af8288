package redis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
)

// errNoCreate refuses to provision.
var errNoCreate = errors.New("create=false forbids to make streams and groups: provision over a connection without it")

// Provision makes the groups, with their streams, and puts the channels where patterns find them: see
// brokers.Provisioner.
func (c *stream) Provision(ctx context.Context, p brokers.Provision) error {
	return c.call(ctx, func(ctx context.Context) error { return c.provision(ctx, p) })
}

func (c *stream) provision(ctx context.Context, p brokers.Provision) error {
	if !c.set.stream.create {
		return &setupError{errNoCreate}
	}
	channels := slices.Clone(p.Channels)
	for _, g := range p.Groups {
		patterns, err := readChannels(g.Group, g.Channels)
		if err != nil {
			return err
		}
		for _, pattern := range patterns {
			if pattern.Literal() {
				channels = append(channels, pattern.String())
			}
		}
	}
	slices.Sort(channels)
	channels = slices.Compact(channels)
	for _, channel := range channels {
		if err := brokers.CheckChannel(channel); err != nil {
			return badChannel{err}
		}
	}
	if len(channels) == 0 {
		return nil
	}
	if err := c.addChannels(ctx, c.pub, channels); err != nil {
		return fmt.Errorf("the set of channels %s: %w", c.set.stream.channelsKey(), err)
	}
	for _, g := range p.Groups {
		if err := c.provisionGroup(ctx, g, channels); err != nil {
			return err
		}
	}
	return nil
}

func (c *stream) provisionGroup(ctx context.Context, g brokers.GroupProvision, channels []string) error {
	n := names{}
	for _, text := range g.Channels {
		if p, err := brokers.ParsePattern(text); err == nil { // provision has looked
			n.patterns = append(n.patterns, p)
		}
	}
	for _, channel := range channels {
		if !n.match(channel) {
			continue
		}
		key := c.set.stream.streamKey(channel)
		if err := c.ensureGroup(ctx, c.pub, key, channel, g.Group, startID(g.Start)); err != nil {
			return fmt.Errorf("group %q of channel %s: %w", g.Group, channel, err)
		}
	}
	return nil
}

// Lag returns the lag of a group: see brokers.Lagger. What waits to be delivered again counts as pending.
func (c *stream) Lag(ctx context.Context, group string, channels []string) ([]brokers.Lag, error) {
	got := make(chan []brokers.Lag, 1) // the call may outlive us
	err := c.call(ctx, func(ctx context.Context) error {
		var list []brokers.Lag
		for _, channel := range channels {
			lag, ok, err := c.lag(ctx, group, channel)
			if err != nil {
				return err
			}
			if ok {
				list = append(list, lag)
			}
		}
		got <- list
		return nil
	})
	if err != nil {
		return nil, err
	}
	return <-got, nil
}

func (c *stream) lag(ctx context.Context, group, channel string) (lag brokers.Lag, ok bool, err error) {
	key := c.set.stream.streamKey(channel)
	state, err := c.groupsOf(ctx, key)
	if isNoGroup(err) {
		return lag, false, nil
	}
	if err != nil {
		return lag, false, err
	}
	floor, ok := state.floors[group]
	if !ok {
		return lag, false, nil
	}
	lag.Channel = channel
	groups, err := c.pub.XInfoGroups(ctx, key).Result()
	if err != nil {
		return lag, false, err
	}
	for _, g := range groups {
		if g.Name == group {
			lag.Waiting, lag.Pending = g.Lag, g.Pending
		}
	}
	parked, err := c.pub.XLen(ctx, c.set.stream.parkedKey(channel, group)).Result()
	if err != nil {
		return lag, false, err
	}
	lag.Pending += parked
	if lag.Waiting == 0 && lag.Pending == 0 {
		return lag, true, nil
	}
	oldest, err := c.pub.XRangeN(ctx, key, floor.after().String(), "+", 1).Result()
	if err != nil {
		return lag, false, err
	}
	if len(oldest) > 0 {
		if id, ok := readID(oldest[0].ID); ok {
			lag.Oldest = time.UnixMilli(int64(id.ms))
		}
	}
	return lag, true, nil
}
