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
	case <-ctx.Done():
	case err := <-ended:
		return errors.Join(err, b.notReady())
	}
	return b.started(ctx, ended)
}

// started says how it stands, of which several things may have come true at once: that it has ended counts before all else, since
// nobody else is told why, and that it is ready before the end of ctx.
func (b *Bus) started(ctx context.Context, ended <-chan error) error {
	select {
	case err := <-ended:
		return errors.Join(err, b.notReady())
	default:
	}
	if isClosed(b.ready) {
		return nil
	}
	return fmt.Errorf("bus: start: %w", errors.Join(context.Cause(ctx), b.notReady()))
}

// notReady names the subscriptions that the broker has not confirmed, and what a ping of it says.
func (b *Bus) notReady() error {
	b.mu.Lock()
	closing := b.isClosing
	b.mu.Unlock()
	if closing {
		return ErrClosed
	}
	brief, cancel := context.WithTimeout(b.reporter.ctx, obeyGrace)
	defer cancel()
	return b.Health(brief)
}
