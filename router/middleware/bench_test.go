package middleware_test

import (
	"context"
	"testing"
	"time"

	"github.com/eventbus-go/eventbus/router"
	"github.com/eventbus-go/eventbus/router/middleware"
	"github.com/eventbus-go/eventbus/schema"
	"github.com/eventbus-go/eventbus/store/dedup"
)

func BenchmarkAHandlerThatSucceeds(b *testing.B) {
	noop := func(context.Context, schema.Event) error { return nil }
	all := []router.Middleware{middleware.Retry(middleware.Policy{}), middleware.Timeout(time.Minute), middleware.Recover(nil)}
	const remembered = 1 << 12
	ids := make([]string, 4*remembered) // more than the store remembers, so that each is handled
	for i := range ids {
		ids[i] = schema.NewID()
	}
	for _, bb := range []struct {
		name  string
		mw    []router.Middleware
		dedup bool
	}{
		{"bare", nil, false}, {"retry", all[:1], false}, {"timeout", all[1:2], false}, {"recover", all[2:], false},
		{"all", all, false}, {"all and dedup", all, true},
	} {
		b.Run(bb.name, func(b *testing.B) {
			ctx, h, e := b.Context(), router.Chain(noop, bb.mw...), schema.Event{}
			if bb.dedup {
				h = middleware.Dedup("s", middleware.DedupPolicy{Store: dedup.NewMemory(remembered)}, nil)(h)
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				e.ID = ids[i%len(ids)]
				if err := h(ctx, e); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// One allocation is the timeout's context; everything else is free until something goes wrong.
func TestAHandlerThatSucceedsCostsOneAllocation(t *testing.T) {
	h := router.Chain(func(context.Context, schema.Event) error { return nil },
		middleware.Retry(middleware.Policy{}), middleware.Timeout(time.Minute), middleware.Recover(nil))
	ctx := t.Context()
	if n := testing.AllocsPerRun(1000, func() { _ = h(ctx, schema.Event{}) }); n > 1 {
		t.Errorf("%v allocations, want at most 1", n)
	}
}
