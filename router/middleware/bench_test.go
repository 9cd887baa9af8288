package middleware_test

import (
	"context"
	"strconv"
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
	dedupOf := middleware.DedupPolicy{Store: dedup.NewMemory(0)}
	whole := append([]router.Middleware{middleware.Dedup("s", dedupOf, nil)}, all...)
	for _, bb := range []struct {
		name string
		mw   []router.Middleware
	}{
		{"bare", nil}, {"retry", all[:1]}, {"timeout", all[1:2]}, {"recover", all[2:]}, {"all", all}, {"all and dedup", whole},
	} {
		b.Run(bb.name, func(b *testing.B) {
			ctx, h, e := b.Context(), router.Chain(noop, bb.mw...), schema.Event{}
			ids := make([]string, 200_000) // more than the store remembers, so that each is handled
			for i := range ids {
				ids[i] = strconv.Itoa(i)
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
