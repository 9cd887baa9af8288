package redis

import (
	"context"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/eventbus-go/eventbus/brokers"
)

// announceEvery is how often a channel that is published to is put into the set of channels again: so soon is the set
// whole after a FLUSHALL.
const announceEvery = 4 * time.Second

// newAdd returns an XADD.
func (c *stream) newAdd(p *publication) *command {
	cmd := &command{body: body{p: p}, empty: emptyAdd}
	if c.set.stream.format != nil {
		cmd.Cmder = goredis.NewStringCmd(noContext)
		cmd.fill = c.fillForeign
		return cmd
	}
	cmd.Cmder = goredis.NewStringCmd(noContext, "xadd", &cmd.key, "*", fieldMeta, &cmd.meta, fieldBody, &cmd.body)
	prefix := c.set.stream.prefix + "{"
	var lastChannel string
	cmd.fill = func(cmd *command, m *brokers.Message) {
		if m.Channel != lastChannel {
			lastChannel, cmd.key = m.Channel, prefix+m.Channel+"}"
		}
		cmd.meta.text = appendMeta(cmd.meta.text[:0], m)
		cmd.body.data = m.Body
	}
	return cmd
}

func emptyAdd(cmd *command) { cmd.body.data = nil }

// fillForeign makes an XADD with the fields of another format. The last value is what divides sent from not sent.
func (c *stream) fillForeign(cmd *command, m *brokers.Message) {
	fields, err := c.set.stream.format.Fields(m)
	if err != nil || len(fields) == 0 {
		fields = []Field{{fieldBody, ""}} // unfit has looked: this does not happen
	}
	args := []any{"xadd", c.set.stream.streamKey(m.Channel), "*"}
	for _, f := range fields[:len(fields)-1] {
		args = append(args, f.Name, f.Value)
	}
	last := fields[len(fields)-1]
	cmd.body.data = []byte(last.Value)
	cmd.Cmder = goredis.NewStringCmd(noContext, append(args, last.Name, &cmd.body)...)
}

// announce puts the channels of a publication into the set of channels, where they were not for a while. It comes
// before the messages: a channel that is in the set and has no stream yet does no harm.
func (c *stream) announce(p *publication) {
	now := time.Now()
	due := c.unannounced(p.msgs, now)
	c.keeper.note(now, due...)
	if len(due) == 0 || !c.set.stream.create {
		return
	}
	err := c.addChannels(p.ctx, p.client, due)
	if isReply(err) {
		c.warnings.set("channels", "channels are not found by patterns: "+err.Error())
		return
	}
	if err != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, channel := range due {
			delete(c.announced, channel)
		}
	}
}

func (c *stream) addChannels(ctx context.Context, client *goredis.Client, channels []string) error {
	members := make([]any, len(channels))
	for i, channel := range channels {
		members[i] = channel
	}
	return client.SAdd(ctx, c.set.stream.channelsKey(), members...).Err()
}

// unannounced returns the channels of msgs that are due, and takes them for announced.
func (c *stream) unannounced(msgs []brokers.Message, now time.Time) (due []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	last := ""
	for i := range msgs {
		channel := msgs[i].Channel
		if channel == last {
			continue
		}
		last = channel
		if now.Sub(c.announced[channel]) >= announceEvery {
			if len(c.announced) >= channelsKnown {
				clear(c.announced)
			}
			c.announced[channel] = now
			due = append(due, channel)
		}
	}
	return due
}

// channelsKnown bounds what is remembered of channels. A service has a few.
const channelsKnown = 4096
