package nats

import (
	"context"
	"errors"
	"testing"

	"github.com/eventbus-go/eventbus/internal/overflow"
)

// Suppose what a call waits for is there, and so is its context's end: what is done must not be reported as given up.
func TestWhatIsDoneIsNotGivenUp(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	closed, done := make(chan struct{}), make(chan error, 1)
	close(closed)
	for range 1000 {
		done <- nil
		if err := outcome(ctx, done); err != nil {
			t.Fatalf("what is done is %v", err)
		}
		if err := await(ctx, closed); err != nil {
			t.Fatalf("what was awaited is %v", err)
		}
	}
	if err := outcome(ctx, done); !errors.Is(err, context.Canceled) {
		t.Errorf("what is not done is %v", err)
	}
	if err := await(ctx, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("what never comes is %v", err)
	}
}

// Suppose the connection is lost and the subscription's context ends before the receiver has looked: the outage is one all the same.
func TestAnOutageIsNotedWhicheverEndIsSeenFirst(t *testing.T) {
	s := &session{over: make(chan struct{}), wire: &wire{}, err: errSessionOver}
	r := &receiver{queue: overflow.New(overflow.Limits{Messages: 1, Bytes: 1}, bodySize)}
	r.end(s, nil, &dropCounter{})
	if r.lost.err != nil {
		t.Errorf("an outage of a session that lives: %v", r.lost.err)
	}
	close(s.over)
	r.end(s, nil, &dropCounter{})
	if r.lost.err == nil {
		t.Error("no outage although the session is over")
	}
}
