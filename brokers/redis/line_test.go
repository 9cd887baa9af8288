package redis_test

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/eventbus-go/eventbus/internal/testbroker"
)

// Suppose a context ends at the very moment when its Publish is done: the interruption must not hit the next call, which
// has the same connection.
func TestAnInterruptionHitsNoOtherCall(t *testing.T) {
	t.Parallel()
	server := testbroker.AnyRedis(t)
	c := open(t, server.URL())
	if err := c.Publish(t.Context(), messages(1, "a.b")); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	const sample = 50
	for range sample {
		_ = c.Publish(t.Context(), messages(1, "a.b"))
	}
	usual := time.Since(begin) / sample
	for range 500 {
		ctx, cancel := context.WithCancel(t.Context())
		timer := time.AfterFunc(time.Duration(rand.Int64N(int64(2*usual))), cancel)
		_ = c.Publish(ctx, messages(1, "a.b")) // with whatever outcome
		if err := c.Publish(t.Context(), messages(1, "a.b")); err != nil {
			t.Fatalf("a call whose context has not ended: %v", err)
		}
		timer.Stop()
		cancel()
	}
}
