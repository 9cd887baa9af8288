package bus

import (
	"context"
	"errors"
	"log/slog"

	"github.com/eventbus-go/eventbus/brokers"
)

// EnsureChannels creates, on every broker that has such things to be created, what is missing: the channels that the rules
// send to it, as a fallback too, and the groups of the subscriptions that were added. What exists is left as it is, so that a
// second call changes nothing.
//
// It is a step of its own for a deployment whose services may not create anything: a program with the same configuration and
// subscriptions and an account that may calls it, and the services open their connections with ?create=false, as far as their
// drivers have that. Or Config.EnsureChannels has Run and Start do it. Its error is a [*BrokerError] for each broker on which
// something is missing still; it waits for the brokers until ctx ends.
func (b *Bus) EnsureChannels(ctx context.Context) error {
	if b.closed.Load() {
		return ErrClosed
	}
	return eachLink(b.links, func(_ int, l *link) error { return b.ensure(ctx, l) })
}

func (b *Bus) ensure(ctx context.Context, l *link) (err error) {
	if l.provisioner == nil {
		return nil
	}
	p := brokers.Provision{Channels: b.router.ChannelsOf(l.name), Groups: b.groupsOn(l)}
	if fault := l.guard("driver", func() { err = l.provisioner.Provision(ctx, p) }); fault != nil {
		err = fault
	}
	if err != nil {
		return l.wrong("channels and groups cannot be created", err)
	}
	return nil
}

// ensureAll creates what is missing at the start of a Run, broker by broker, so that one which is down holds up its own
// subscriptions only. Each broker is tried until it has everything; what waiting does not cure ends the Run.
func (r *running) ensureAll() {
	if !r.bus.limits.EnsureChannels {
		return
	}
	r.ensured = make(map[*link]chan struct{}, len(r.bus.links))
	for _, l := range r.bus.links {
		done := make(chan struct{})
		r.ensured[l] = done
		r.receivers.Go(func() { r.ensureOne(l, done) })
	}
}

func (r *running) ensureOne(l *link, done chan<- struct{}) {
	for attempt := 1; ; attempt++ {
		err := r.bus.ensure(r.fetch, l)
		var wrong *BrokerError
		switch {
		case r.fetch.Err() != nil:
			return
		case err == nil:
			close(done)
			return
		case errors.As(err, &wrong) && !l.retryable(wrong.Err):
			r.fail(err)
			return
		}
		r.bus.reporter.note("ensure:"+l.name, slog.LevelError, "creating channels and groups failed: it is tried again",
			"broker", l.name, "err", err)
		r.pause(attempt)
	}
}

// awaitEnsured waits until a broker has what is to be created, and reports false where the Run ends first.
func (r *running) awaitEnsured(l *link) bool {
	done := r.ensured[l]
	if done == nil {
		return true
	}
	select {
	case <-done:
		return true
	case <-r.fetch.Done():
		return false
	}
}
