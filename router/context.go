package router

import "context"

type attemptKey struct{}

// Attempt returns which attempt at the event ctx belongs to, counted from 1: 1 for the first, and wherever nobody
// counts.
func Attempt(ctx context.Context) int {
	if n, ok := ctx.Value(attemptKey{}).(int); ok {
		return n
	}
	return 1
}

// WithAttempt returns a context whose Attempt is n; an n below 1 counts as 1. A broker that counts deliveries sets it
// where a delivery is not the first; retries in place count on from there.
func WithAttempt(ctx context.Context, n int) context.Context {
	return context.WithValue(ctx, attemptKey{}, max(n, 1))
}

type drainingKey struct{}

// Draining returns a channel that is closed when the subscription begins to drain: handlers may finish, but nothing
// ought to wait for a better moment any more. It is nil, and so blocks for ever, where ctx does not say.
//
// That is less than the end of ctx, which comes when the deadline of the shutdown has passed.
func Draining(ctx context.Context) <-chan struct{} {
	ch, _ := ctx.Value(drainingKey{}).(<-chan struct{})
	return ch
}

// WithDraining returns a context whose Draining is ch.
func WithDraining(ctx context.Context, ch <-chan struct{}) context.Context {
	return context.WithValue(ctx, drainingKey{}, ch)
}
