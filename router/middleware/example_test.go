package middleware_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/eventbus-go/eventbus/router"
	"github.com/eventbus-go/eventbus/router/middleware"
	"github.com/eventbus-go/eventbus/schema"
)

func ExampleRecover() {
	h := router.Chain(
		func(context.Context, schema.Event) error {
			var permissions []string // of a user that has none
			return errors.New("the first one is " + permissions[0])
		},
		middleware.Recover(func(p *middleware.PanicError) { fmt.Println("log it, with", len(p.Stack) > 0, "stack:", p) }),
	)
	err := h(context.Background(), schema.Event{Type: "role.assigned"})
	fmt.Println(err)
	// Output:
	// log it, with true stack: panic: runtime error: index out of range [0] with length 0
	// panic: runtime error: index out of range [0] with length 0
}

func ExampleTimeout() {
	h := router.Chain(
		func(ctx context.Context, _ schema.Event) error {
			<-ctx.Done() // a call that takes too long, and is given the context
			return errors.New("mail server: no answer")
		},
		middleware.Timeout(10*time.Millisecond),
	)
	err := h(context.Background(), schema.Event{Type: "user.registered"})
	fmt.Println(err)
	fmt.Println(errors.Is(err, context.DeadlineExceeded))
	// Output:
	// timed out after 10ms: mail server: no answer
	// true
}

func ExampleRetry() {
	h := router.Chain(
		func(ctx context.Context, _ schema.Event) error {
			switch n := router.Attempt(ctx); n {
			case 1:
				return errors.New("the database is away")
			case 2:
				return router.RetryAfter(errors.New("too many requests"), 5*time.Millisecond)
			default:
				fmt.Println("handled in attempt", n)
				return nil
			}
		},
		middleware.Retry(middleware.Policy{Attempts: 5, Backoff: middleware.Backoff{Min: time.Millisecond}},
			middleware.OnRetry(func(r middleware.Retrying) { fmt.Printf("attempt %d: %v\n", r.Attempt, r.Err) })),
	)
	fmt.Println(h(context.Background(), schema.Event{Type: "role.assigned"}))
	// Output:
	// attempt 1: the database is away
	// attempt 2: retry after 5ms: too many requests
	// handled in attempt 3
	// <nil>
}

func ExampleBackoff_Delay() {
	b := middleware.Backoff{Min: 100 * time.Millisecond, Max: time.Second, Factor: 2}
	for attempt := 1; attempt <= 5; attempt++ {
		fmt.Println("after attempt", attempt, "between 0s and", b.Delay(attempt, 1))
	}
	// Output:
	// after attempt 1 between 0s and 100ms
	// after attempt 2 between 0s and 200ms
	// after attempt 3 between 0s and 400ms
	// after attempt 4 between 0s and 800ms
	// after attempt 5 between 0s and 1s
}

func ExampleParsePolicy() {
	p, err := middleware.ParsePolicy("5 times, 200ms to 10m, jitter")
	fmt.Println(p.Attempts, p.Backoff.Min, p.Backoff.Max, err)
	fmt.Println(middleware.Policy{}.Text())
	_, err = middleware.ParsePolicy("5 times, 10m to 200ms")
	fmt.Println(err)
	// Output:
	// 5 200ms 10m0s <nil>
	// 3 times, 100ms to 10s, jitter
	// retry policy: "10m to 200ms" goes down: the shorter wait comes first
}
