// Package middleware has the stock wrappings of a handler, one file each: [Recover], [Timeout],
// [Retry] and [Dedup].
//
// Their order matters, the first given to [router.Chain] being the outermost: Dedup, then Retry, so that
// an event is known as handled once none of its attempts is to come, then Timeout, so that each attempt
// has the whole time, then Recover, so that a panic is an error like any other to the two around it.
//
// Each promises the same: it is safe for concurrent use, starts no goroutine, costs next to nothing where the handler
// succeeds, and leaves nothing running once it has returned. None of them abandons a handler: all wait until it returns.
// A handler that ends its goroutine by runtime.Goexit, as testing.T.FailNow does, passes through them all: no middleware
// can stop it, none reports success for it, and nothing of theirs stays behind.
package middleware
