package bus

import (
	"github.com/eventbus-go/eventbus/router"
	"github.com/eventbus-go/eventbus/router/middleware"
)

// What a program that handles events needs of other packages, under the name of the one it imports anyway.
type (
	// Handler handles one event; what it returns is what it wants. See [router.Handler].
	Handler = router.Handler
	// Middleware wraps a handler. See [router.Middleware].
	Middleware = router.Middleware
	// RetryPolicy says how often a handler is tried and how long to wait in between. See [middleware.Policy].
	RetryPolicy = middleware.Policy
	// DedupPolicy says how events that were handled before are recognised. See [middleware.DedupPolicy].
	DedupPolicy = middleware.DedupPolicy
	// Backoff is the wait between attempts: exponential, with full jitter. See [middleware.Backoff].
	Backoff = middleware.Backoff
)
