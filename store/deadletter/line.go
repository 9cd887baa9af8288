package deadletter

import (
	"context"
	"errors"
	"fmt"
	"math"
)

// A LineStore is a Store that keeps lines, for subscriptions that keep the order of their keys. The letters of one subscription and
// one key that have KeepOrder are a line, in the order in which they were written first: the event that failed, and behind it the
// later events of the key, which were not tried. A letter that is written again keeps its place.
//
// Whoever handles the first letter of a line removes it; then the next one is the first. A line without letters is none, and the events
// of its key are handled as they come.
type LineStore interface {
	Store
	// PutBehind writes a letter behind those of its line, and reports whether it stands in it now: it does not where there is no
	// line. A letter that stands in it already stays as it is. Its error may be ErrFull.
	PutBehind(ctx context.Context, l Letter) (stands bool, err error)
	// Line returns up to limit letters of a line, the first ones.
	Line(ctx context.Context, subscription, key string, limit int) ([]Letter, error)
}

// LineOf names the line of a letter, for stores; it is empty where the letter stands in none.
func LineOf(l *Letter) string {
	if !l.KeepOrder {
		return ""
	}
	return lineName(l.Subscription, l.Key)
}

func lineName(subscription, key string) string { return subscription + "\x00" + key }

// errLine is what a sender answers that would lose the order.
var errLine = errors.New("a letter of a subscription that keeps order goes to that subscription, and to nobody else: redrive it by " +
	"Bus.ToSubscription")

// line sends the line of a letter from its first on, once in a redrive, until one fails again. Those that are handled are removed by the
// subscription, one by one.
func (r *redrive) line(ctx context.Context, l *Letter) error {
	name := LineOf(l)
	store, ok := r.store.(LineStore)
	if r.lines[name] || !ok {
		return nil
	}
	if r.lines == nil {
		r.lines = make(map[string]bool)
	}
	r.lines[name] = true
	if r.DryRun {
		all, err := store.Line(ctx, l.Subscription, l.Key, math.MaxInt32)
		r.Sent += len(all)
		return err
	}
	letters, err := store.Line(ctx, l.Subscription, l.Key, r.size())
	for err == nil && len(letters) > 0 {
		if err = r.await(ctx, len(letters)); err != nil {
			return err
		}
		if err = r.to(ctx, letters); err != nil {
			return fmt.Errorf("redrive: after %d letters: %w", r.Sent, err)
		}
		var left []Letter
		if left, err = store.Line(ctx, l.Subscription, l.Key, r.size()); err == nil {
			stay := countIn(letters, left)
			r.Sent += len(letters) - stay
			if r.Behind += stay; stay > 0 {
				return nil
			}
		}
		letters = left
	}
	return err
}

// countIn returns how many of the letters are among others.
func countIn(letters, others []Letter) (n int) {
	ids := make(map[string]bool, len(others))
	for i := range others {
		ids[others[i].ID] = true
	}
	for i := range letters {
		if ids[letters[i].ID] {
			n++
		}
	}
	return n
}
