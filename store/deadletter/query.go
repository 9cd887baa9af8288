package deadletter

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"
)

// pageSize is how many letters are read at once.
const pageSize = 500

// A Query says which letters are meant; its zero value means all.
type Query struct {
	// IDs, Subscriptions, Channels, EventTypes, Fingerprints and Reasons are alternatives, each; empty means any.
	IDs, Subscriptions, Channels, EventTypes, Fingerprints, Reasons []string
	// Since and Until bound the time of the last failure; zero means no bound. Until is not included.
	Since, Until time.Time
}

// Match reports whether l is meant.
func (q Query) Match(l *Letter) bool {
	in := func(list []string, s string) bool { return len(list) == 0 || slices.Contains(list, s) }
	return in(q.IDs, l.ID) && in(q.Subscriptions, l.Subscription) && in(q.Channels, l.Channel) &&
		in(q.EventTypes, l.EventType) && in(q.Fingerprints, l.Fingerprint) && in(q.Reasons, l.Reason) &&
		!l.Last.Before(q.Since) && (q.Until.IsZero() || l.Last.Before(q.Until))
}

// List returns the letters of q in the order of their last failure. Letters that are written meanwhile may be among them. It
// ends with the first error.
func List(ctx context.Context, s Store, q Query) iter.Seq2[Letter, error] {
	return func(yield func(Letter, error) bool) {
		for page, err := range pages(ctx, s, q) {
			if err != nil {
				yield(Letter{}, err)
				return
			}
			for _, l := range page {
				if !yield(l, nil) {
					return
				}
			}
		}
	}
}

// pages returns the letters of q a page at a time.
func pages(ctx context.Context, s Store, q Query) iter.Seq2[[]Letter, error] {
	return func(yield func([]Letter, error) bool) {
		for cursor := ""; ; {
			page, next, err := s.Page(ctx, cursor, pageSize)
			if err != nil {
				yield(nil, err)
				return
			}
			page = slices.DeleteFunc(page, func(l Letter) bool { return !q.Match(&l) })
			if len(page) > 0 && !yield(page, nil) || next == "" {
				return
			}
			cursor = next
		}
	}
}

// ErrNotFound is what Show returns where there is no such letter.
var ErrNotFound = errors.New("there is no dead letter of that id")

// Show returns the letter of an id.
func Show(ctx context.Context, s Store, id string) (Letter, error) {
	for l, err := range List(ctx, s, Query{IDs: []string{id}}) {
		return l, err
	}
	return Letter{}, fmt.Errorf("%w: %q", ErrNotFound, id)
}

// A Group is the letters of one fingerprint.
type Group struct {
	Fingerprint string
	Count       int
	First, Last time.Time // of the failures
	// Subscriptions are those that failed, sorted.
	Subscriptions []string
	// Example is the letter that failed last.
	Example Letter
}

// Groups sorts the letters of q by the fingerprints of their errors, the largest group first.
func Groups(ctx context.Context, s Store, q Query) ([]Group, error) {
	by := make(map[string]*Group)
	for l, err := range List(ctx, s, q) {
		if err != nil {
			return nil, err
		}
		g := by[l.Fingerprint]
		if g == nil {
			g = &Group{Fingerprint: l.Fingerprint, First: l.First}
			by[l.Fingerprint] = g
		}
		g.Count++
		g.Last, g.Example = l.Last, l // they come in the order of Last
		if l.First.Before(g.First) {
			g.First = l.First
		}
		if i, found := slices.BinarySearch(g.Subscriptions, l.Subscription); !found {
			g.Subscriptions = slices.Insert(g.Subscriptions, i, l.Subscription)
		}
	}
	var out []Group
	for _, g := range by {
		out = append(out, *g)
	}
	slices.SortFunc(out, func(a, b Group) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Fingerprint, b.Fingerprint))
	})
	return out, nil
}

// Purge removes the letters of q, and returns how many.
func Purge(ctx context.Context, s Store, q Query) (removed int, err error) {
	for page, err := range pages(ctx, s, q) {
		if err != nil {
			return removed, err
		}
		n, err := s.Remove(ctx, page...)
		removed += n
		if err != nil {
			return removed, err
		}
	}
	return removed, nil
}
