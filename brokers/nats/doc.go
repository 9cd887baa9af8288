// Package nats carries messages over NATS: nats:// is core NATS.
//
// Core NATS is Pub/Sub. A message reaches the subscribers that are connected when it is published, and nobody else:
// nothing is stored. What a subscriber may have missed is reported as a brokers.Gap, with a count where it was this package
// or its client that dropped, and without one where the connection was lost.
package nats
