package redis

import (
	"context"
	"maps"
	"slices"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/eventbus-go/eventbus/brokers"
)

// announceEvery is how often a channel that is published to is put into the set of channels again, and one that the server
// refused to put there: so soon is the set whole after a FLUSHALL, and after a time in which the server took nothing.
const announceEvery = 4 * time.Second

// channelsKnown bounds what is remembered of channels. A service has a few.
const channelsKnown = 4096

// announced is what is known of the set of channels. It is guarded by the stream's mu.
type announced struct {
	at   map[string]time.Time // when a channel was last put into the set by a publisher
	owed map[string]bool      // those that the server refused to put there
}

// register puts channels into the set of channels for who reads them. It goes on without, where the server denies that: the
// keeper tries again.
func (c *stream) register(ctx context.Context, client *goredis.Client, channels []string) error {
	if !c.set.stream.create || len(channels) == 0 {
		return nil
	}
	err := c.addChannels(ctx, client, channels)
	if err == nil || denied(err) {
		c.noteAnnounced(channels, err)
		return nil
	}
	return err
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
	if err == nil || isReply(err) {
		c.noteAnnounced(due, err)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, channel := range due {
		delete(c.announced.at, channel)
	}
}

// announceOwed puts those channels into the set that the server refused to put there.
//
// Suppose a service starts while its server is full: it reads what is there, and nobody else would put its channel into the set
// before it is started again, or somebody publishes.
func (c *stream) announceOwed(ctx context.Context) {
	c.mu.Lock()
	owed := slices.Sorted(maps.Keys(c.announced.owed))
	c.mu.Unlock()
	if len(owed) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, announceEvery)
	defer cancel()
	if err := c.addChannels(ctx, c.pub, owed); err == nil || isReply(err) {
		c.noteAnnounced(owed, err)
	}
}

// noteAnnounced notes which channels the server refused to put into the set, and which it did not. The warning of it is there for
// as long as one is not in it.
func (c *stream) noteAnnounced(channels []string, refusal error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, channel := range channels {
		if refusal == nil {
			delete(c.announced.owed, channel)
		} else if len(c.announced.owed) < channelsKnown {
			c.announced.owed[channel] = true
		}
	}
	if refusal != nil {
		c.warnings.set("channels", "channels are not found by patterns: "+refusal.Error())
	} else if len(c.announced.owed) == 0 {
		c.warnings.set("channels", "")
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
		if now.Sub(c.announced.at[channel]) >= announceEvery {
			if len(c.announced.at) >= channelsKnown {
				clear(c.announced.at)
			}
			c.announced.at[channel] = now
			due = append(due, channel)
		}
	}
	return due
}
