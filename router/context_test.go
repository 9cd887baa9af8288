package router_test

import (
	"context"
	"testing"

	"github.com/eventbus-go/eventbus/router"
)

func TestAttemptIsOneUnlessSomebodyCounts(t *testing.T) {
	ctx := context.Background()
	if n := router.Attempt(ctx); n != 1 {
		t.Errorf("without a count: %d, want 1", n)
	}
	if n := router.Attempt(router.WithAttempt(ctx, 3)); n != 3 {
		t.Errorf("with a count: %d, want 3", n)
	}
	if n := router.Attempt(router.WithAttempt(ctx, 0)); n != 1 {
		t.Errorf("with a count below 1: %d, want 1", n)
	}
}

func TestDrainingIsTheChannelThatWasSet(t *testing.T) {
	ctx := context.Background()
	if router.Draining(ctx) != nil {
		t.Error("a context that does not say has a Draining channel")
	}
	ch := make(chan struct{})
	if router.Draining(router.WithDraining(ctx, ch)) != (<-chan struct{})(ch) {
		t.Error("Draining is not the channel given to WithDraining")
	}
}
