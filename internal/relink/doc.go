// Package relink holds a connection to a broker: one session after the other, with jittered backoff, for ever. Drivers use it
// whose client libraries either do not reconnect or hide it too well.
//
// A session is the life of one connection, from its handshake to its first error. A goroutine of the link's own connects, so
// that nobody else ever waits for a server longer than for its context. A Link is safe for concurrent use.
package relink
