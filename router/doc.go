// Package router decides where events go, and in what wrapping they are handled.
//
// Going out, a [Router] maps an event to channels by rules that are data: a pattern on the event's type, a condition, and
// channels. Coming in, [Middleware] wraps a subscription's [Handler]; package middleware has the stock ones. What a handler
// wants done with an event it says by the error it returns: see [Permanent], [RetryAfter] and [Drop].
//
// Everything here is pure: no I/O, no clock, no randomness but what it is given.
package router
