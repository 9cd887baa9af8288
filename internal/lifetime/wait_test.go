package lifetime_test

import (
	"context"
	"errors"
	"testing"

	"github.com/eventbus-go/eventbus/internal/lifetime"
)

// Suppose what a call waits for is there, and so is its context's end: what is done must not be reported as given up.
func TestWhatIsDoneIsNotGivenUp(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	closed, done := make(chan struct{}), make(chan error, 1)
	close(closed)
	for range 1000 {
		done <- nil
		if err := lifetime.Outcome(ctx, done); err != nil {
			t.Fatalf("what is done is %v", err)
		}
		if err := lifetime.Await(ctx, closed); err != nil {
			t.Fatalf("what was awaited is %v", err)
		}
	}
	if err := lifetime.Outcome(ctx, done); !errors.Is(err, context.Canceled) {
		t.Errorf("what is not done is %v", err)
	}
	if err := lifetime.Await(ctx, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("what never comes is %v", err)
	}
}
