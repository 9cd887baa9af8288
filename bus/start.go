package bus

import (
	"context"
	"errors"
	"fmt"
)

// Start begins to receive and returns nil once the broker has confirmed every subscription: what is published from then on is
// handled, or reported as a gap. It is Run for programs that go on doing something else; Close ends what it began.
//
// It returns an error where a subscription cannot be had, or where ctx ends while the broker still does not answer; the bus
// then goes on trying until Close. Handlers get a context with the values of ctx; its end does not stop them.
func (b *Bus) Start(ctx context.Context) error {
	run, err := b.start(context.WithoutCancel(ctx))
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- run.wait(context.WithoutCancel(ctx)) }()
	select {
	case <-b.ready:
		return nil
	case err := <-ended:
		return errors.Join(err, b.notReady())
	case <-ctx.Done():
		return fmt.Errorf("bus: start: %w", errors.Join(context.Cause(ctx), b.notReady()))
	}
}

// notReady names the subscriptions that the broker has not confirmed, and what a ping of it says.
func (b *Bus) notReady() error {
	if b.closed.Load() {
		return ErrClosed
	}
	brief, cancel := context.WithTimeout(b.reporter.ctx, obeyGrace)
	defer cancel()
	return b.Health(brief)
}
