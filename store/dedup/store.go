// Package dedup is how a subscription remembers, by their ids, which events it has handled: the contract of a store, and [Memory],
// a store within the process, for a service that runs once and for tests. Packages store/redis and store/sqlite have what several
// processes share and what outlives a restart.
//
// It is a memory of two steps. An event is reserved when it is begun, and confirmed or released by its outcome, so that one whose
// handler failed is handled again. A reservation is a lease, which is renewed for as long as the handler takes, so that the events of
// a process that dies are free again soon. A handled event is known for a window, and each store says what bounds their number.
package dedup

import (
	"context"
	"time"
)

// A Store remembers which events a scope is handling or has handled. Its methods are safe for concurrent use, and return soon
// after their context's end.
type Store interface {
	// Reserve begins an event for as long as lease says, unless it is known. token is what Release has to show: a random number.
	Reserve(ctx context.Context, scope, id string, token uint64, lease time.Duration) (State, error)
	// Renew prolongs the lease of an event that was begun with this token, from now on, and reports whether it was still held: else
	// it has run out, and somebody else may have begun the event.
	Renew(ctx context.Context, scope, id string, token uint64, lease time.Duration) (held bool, err error)
	// Confirm remembers an event as handled for as long as window says, also where its lease has run out.
	Confirm(ctx context.Context, scope, id string, window time.Duration) error
	// Release forgets an event that was begun with this token and not handled.
	Release(ctx context.Context, scope, id string, token uint64) error
}

// Forever is a lease that does not run out: for a [Memory], which ends with the process that holds it. Other stores know no such
// lease.
const Forever time.Duration = 1 << 60

// State is what a Store knows of an event.
type State uint8

// A fresh event was not known and is reserved now; a reserved one is being handled elsewhere, or was by a process that has died
// within the lease; a handled one is a duplicate.
const (
	Fresh State = iota
	Reserved
	Handled
)
