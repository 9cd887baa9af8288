package deadletter

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
)

// A Sender hands letters over to be handled again. It returns nil once all of them are taken: they are removed then.
type Sender func(ctx context.Context, letters []Letter) error

// ToChannel sends letters to the channels that they came from, for every subscription that reads them. send is the Send method
// of a bus. Their bytes are sent as they are; what tells a broker that a message was published before is not, so that a
// broker which recognises a second publish of an event does not drop it.
func ToChannel(send func(ctx context.Context, msgs []brokers.Message) error) Sender {
	return func(ctx context.Context, letters []Letter) error {
		msgs := make([]brokers.Message, len(letters))
		for i := range letters {
			l := &letters[i]
			if l.KeepOrder {
				return errLine
			}
			msgs[i] = brokers.Message{
				ID: l.EventID + "+" + l.Rev, Type: l.EventType, Channel: l.Channel, Key: l.Key, Priority: l.Priority, Time: l.Time,
				Body: l.Body, Broker: l.BrokerName,
			}
		}
		return send(ctx, msgs)
	}
}

// DefaultRedriveBatch is how many letters Redrive sends at once unless it is told otherwise.
const DefaultRedriveBatch = 500

// RedriveOptions say what Redrive does. Their zero value sends all letters that there were at its beginning, as fast as it can.
type RedriveOptions struct {
	Query Query
	// Rate is how many letters are sent in a second at most; 0 means no limit.
	Rate float64
	// DryRun counts what would be sent, and sends nothing.
	DryRun bool
	// Batch is how many are sent and then removed at once. While one batch is sent, the one before is removed and the next one
	// is read; so twice as many may be sent again where the process ends in between. Default DefaultRedriveBatch.
	Batch int
}

// A Report says what Redrive did.
type Report struct {
	// Sent were sent and taken; in a dry run they would be.
	Sent int
	// Behind were sent and stay, in the lines of subscriptions that keep order: one that failed again, and those behind it.
	Behind int
	// Skipped cannot be sent again: they are no events, or not whole.
	Skipped int
}

// Redrive sends letters again, and removes each once it was taken. A letter that fails again is written again, and is not sent a
// second time. Where it is interrupted, or to fails, its error says so and the rest is as it was: Redrive resumes by being called
// again.
//
// Where a letter of q stands in a line, see [LineStore], its line is sent from the first letter on, in order, so that letters are sent
// that q does not mean; what comes behind meanwhile is sent, too. One redrive at a time keeps the order.
func Redrive(ctx context.Context, s Store, to Sender, o RedriveOptions) (Report, error) {
	if now := time.Now(); o.Query.Until.IsZero() || o.Query.Until.After(now) {
		o.Query.Until = now
	}
	if o.Batch <= 0 {
		o.Batch = DefaultRedriveBatch
	}
	r := redrive{to: to, RedriveOptions: o, next: time.Now(), store: s, sent: newRemover(ctx, s)}
	err := r.all(ctx, readAhead(ctx, s, o.Query))
	if failed := r.sent.finish(); failed != nil {
		return r.Report, failed
	}
	return r.Report, err
}

type redrive struct {
	RedriveOptions
	Report
	store Store
	to    Sender
	batch []Letter
	lines map[string]bool // those that were sent
	next  time.Time       // when the next batch may leave
	sent  *remover
}

func (r *redrive) all(ctx context.Context, in *reader) error {
	defer in.stop()
	for page := range in.pages {
		for i := range page {
			if err := r.take(ctx, &page[i]); err != nil {
				return err
			}
		}
	}
	return errors.Join(r.flush(ctx), in.err)
}

func (r *redrive) take(ctx context.Context, l *Letter) error {
	switch {
	case l.EventID == "" || !l.Whole():
		r.Skipped++
	case l.KeepOrder:
		return r.line(ctx, l)
	case r.DryRun:
		r.Sent++
	default:
		r.batch = append(r.batch, *l)
	}
	if len(r.batch) >= r.size() {
		return r.flush(ctx)
	}
	return nil
}

// size is how many letters are sent at once: as many as a tenth of a second may have, where there is a rate.
func (r *redrive) size() int {
	if r.Rate > 0 {
		return min(r.Batch, int(max(r.Rate/10, 1)))
	}
	return r.Batch
}

// flush sends the batch when its time has come, and has it removed.
func (r *redrive) flush(ctx context.Context) error {
	if len(r.batch) == 0 {
		return nil
	}
	if err := r.await(ctx, len(r.batch)); err != nil {
		return err
	}
	if err := r.to(ctx, r.batch); err != nil {
		return fmt.Errorf("redrive: after %d letters: %w", r.Sent, err)
	}
	r.Sent += len(r.batch)
	if !r.sent.remove(r.batch) {
		return errNotRemoved
	}
	r.batch = make([]Letter, 0, r.Batch) // the old one is still being removed
	return nil
}

// await waits until so many letters may leave.
func (r *redrive) await(ctx context.Context, n int) error {
	if r.Rate <= 0 {
		return ctx.Err()
	}
	if now := time.Now(); r.next.Before(now) {
		r.next = now
	}
	t := time.NewTimer(time.Until(r.next))
	defer t.Stop()
	r.next = r.next.Add(time.Duration(float64(n) / r.Rate * float64(time.Second)))
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}
