package bus

import (
	"context"
	"log/slog"
)

// An Origin says where an event that is being handled came from.
type Origin struct {
	// Subscription and Group are those that the handler belongs to.
	Subscription, Group string
	// Broker is the name of the broker that delivered it, where the bus has several.
	Broker string
	// Scheme is that of the broker's URL, such as "kafka"; empty where the bus was given the connection.
	Scheme string
	// Channel is the one that it came on.
	Channel string

	log *slog.Logger
}

type originKey struct{}

// OriginOf returns where the event came from that ctx belongs to; ok is false outside of a handler.
func OriginOf(ctx context.Context) (o Origin, ok bool) {
	if p := originOf(ctx); p != nil {
		return *p, true
	}
	return Origin{}, false
}

func originOf(ctx context.Context) *Origin {
	o, _ := ctx.Value(originKey{}).(*Origin)
	return o
}

// maxOrigins bounds the contexts that a feed keeps. There is one for each channel that was delivered on, so that events
// share it and an event costs no context of its own.
const maxOrigins = 1024

// A feedContexts has the handlers' contexts of a feed, by the channel of the event. It is guarded by the scheduler's
// lock.
type feedContexts struct {
	channel string // of the last one
	last    context.Context
	known   map[string]context.Context
}

// contextOf returns the context of handlers for events of a channel. It is called with the scheduler's lock held.
func (f *feed) contextOf(channel string) context.Context {
	k := &f.contexts
	if k.last != nil && k.channel == channel {
		return k.last
	}
	ctx := k.known[channel]
	if ctx == nil {
		ctx = context.WithValue(f.c.ctx, originKey{}, &Origin{
			Subscription: f.c.name, Group: f.c.sub.Group, Broker: f.link.tag, Scheme: f.link.known(), Channel: channel,
			log: f.c.bus.log,
		})
		if k.known == nil {
			k.known = make(map[string]context.Context)
		}
		if len(k.known) < maxOrigins {
			k.known[channel] = ctx
		}
	}
	k.channel, k.last = channel, ctx
	return ctx
}
