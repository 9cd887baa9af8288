package bus

import (
	"context"
	"errors"
	"log/slog"
	"time"
)

// brokerStats returns a snapshot for each broker.
func (b *Bus) brokerStats() map[string]BrokerStats {
	all := make(map[string]BrokerStats, len(b.links))
	for _, l := range b.links {
		var st BrokerStats
		for _, o := range b.exits {
			if o.link == l {
				st.Published.add(o.snapshot())
			}
		}
		counts, unavailable := l.avail.stats()
		st.Unavailable, st.Unroutable = unavailable, l.unroutable()
		st.Switches, st.Returns, st.MaybeTwice = counts.switches, counts.returns, counts.maybeTwice
		all[l.name] = st
	}
	return all
}

// switched makes what logs the changes of a broker's availability.
func (b *Bus) switched(l *link) func(change) {
	return func(c change) {
		if c.down {
			b.reporter.note("unavailable:"+l.name, slog.LevelError, "broker unavailable: messages go to the fallback",
				"broker", l.name, "since", c.since, "err", c.err)
			return
		}
		b.reporter.note("available:"+l.name, slog.LevelWarn, "broker available again: messages no longer go to the fallback",
			"broker", l.name, "since", c.since, "for", time.Since(c.since).Round(time.Millisecond))
	}
}

// warnOfFallback says at the start what a fallback costs.
func (b *Bus) warnOfFallback(to, fallback *link) {
	if fallback != nil && to.caps.Durable && !fallback.caps.Durable {
		b.reporter.note("fallback:"+to.name+":"+fallback.name, slog.LevelWarn,
			"a fallback stores no messages, and its broker does: what it takes is delivered at most once",
			"broker", to.name, "fallback", fallback.name)
	}
}

// closeBrokers sends what is queued and disconnects, all brokers at once, so that none waits for another one; a connection
// stays until what falls back to it is sent. It returns how many messages were given up.
func (b *Bus) closeBrokers(ctx context.Context) (dropped int64, err error) {
	empty := make([]chan struct{}, len(b.exits))
	for i, o := range b.exits {
		empty[i] = make(chan struct{})
		go func() {
			defer close(empty[i])
			o.close(ctx)
		}()
	}
	err = eachLink(b.links, func(_ int, l *link) error {
		for i, o := range b.exits {
			if o.uses(l) {
				<-empty[i] // by ctx's end
			}
		}
		l.avail.close()
		err := l.Close(ctx)
		if err != nil && l.tag != "" {
			err = l.wrong("closing", err)
		}
		return err
	})
	for _, o := range b.exits {
		dropped += o.snapshot().Dropped[DropClosed]
	}
	return dropped, err
}

// Health asks every broker for a sign of life, all at once, and checks that every subscription of a running bus is confirmed
// by every broker that it reads. It returns nil, or all that is wrong: a [*BrokerError] for each broker that does not answer,
// and a [*SubscriptionError] for each subscription that is not confirmed. It waits for the brokers until ctx ends. Where some
// brokers are more important than others, [Bus.Check] tells them apart.
func (b *Bus) Health(ctx context.Context) error { return b.Check(ctx).Err() }

// A HealthReport says of each broker and each subscription what is wrong with it, nil where nothing is.
type HealthReport struct {
	// Brokers by name; a single one is called [DefaultBroker].
	Brokers map[string]error
	// Subscriptions by name, and below it by the name of the broker that has not confirmed it. It is empty before Run.
	Subscriptions map[string]map[string]error

	// DeadLetters is why dead letters cannot be written; nil where they can, or none were.
	DeadLetters error
	// Stopping is whether nothing more is received: Close was called, or Run has ended. It is no error of Err.
	Stopping bool

	errs []error
}

// Err returns nil where all is well, or everything that is wrong.
func (h HealthReport) Err() error { return errors.Join(h.errs...) }

// Check is Health, with an answer for each broker and subscription.
func (b *Bus) Check(ctx context.Context) HealthReport {
	if b.closed.Load() {
		return HealthReport{Stopping: true, errs: []error{ErrClosed}}
	}
	h := HealthReport{Brokers: make(map[string]error), Subscriptions: make(map[string]map[string]error)}
	answers := make([]error, len(b.links))
	_ = eachLink(b.links, func(i int, l *link) error {
		if err := l.ping(ctx); err != nil {
			answers[i] = l.wrong("the broker does not answer", err)
		}
		l.warn()
		return nil
	})
	for i, l := range b.links {
		h.Brokers[l.name] = answers[i]
		h.note(answers[i])
	}
	if b.keeper != nil {
		h.DeadLetters = b.keeper.away()
		h.note(h.DeadLetters)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	h.Stopping = b.isClosing || b.run != nil && b.run.fetch.Err() != nil
	if b.run != nil {
		for _, c := range b.run.subs {
			h.subscription(c)
		}
	}
	return h
}

func (h *HealthReport) note(err error) {
	if err != nil {
		h.errs = append(h.errs, err)
	}
}

// subscription adds what is known of a subscription.
func (h *HealthReport) subscription(c *consumer) {
	h.Subscriptions[c.name] = make(map[string]error, len(c.feeds))
	for _, f := range c.feeds {
		err := f.unconfirmed()
		h.Subscriptions[c.name][f.link.name] = err
		h.note(err)
	}
}
