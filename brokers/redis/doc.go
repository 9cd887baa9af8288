// Package redis carries messages over Redis Pub/Sub: redis:// and, with TLS, rediss://.
//
// It is the fastest broker and the one that promises least. A message reaches the subscribers that are connected when
// it is published, and nobody else: nothing is stored. What a subscriber may have missed is reported as a brokers.Gap,
// with a count where it was this package that dropped, and without one where the connection was lost. Take
// redis+stream:// where an event must not be lost, or where subscribers share the work.
//
// A message on the wire is its body and nothing else, on the Redis channel of its own name, so that any Redis client
// can publish and subscribe. There is no key space in Pub/Sub: the database number of the URL changes nothing about who
// hears what.
//
// # URL
//
//	redis://[user[:password]@][host[:6379]][/database][?parameter=value&...]
//
//	dial_timeout     longest connecting, with TLS included (2s)
//	read_timeout     longest wait for the replies to one pipeline (1s)
//	write_timeout    longest writing of one pipeline (1s)
//	pool_size        most connections that publish at the same time (16)
//	ping_interval    silence after which a subscription asks for a sign of life; after two of them it reconnects (3s)
//	buffer_messages  most messages that wait for one subscription's handlers (65536)
//	buffer_bytes     most bytes of bodies that do (33554432)
//	max_bytes        longest body that is published (16777216); raise the server's client-output-buffer-limit with it
//	client_name      what the connections are called in CLIENT LIST
//	tls_ca           PEM file of the authorities that signed the server's certificate (rediss only; else the system's)
//	tls_cert         PEM file of the client's certificate (rediss only)
//	tls_key          PEM file of its key (rediss only)
//
// # How it works
//
// Publish writes a batch as pipelines of PUBLISH, one after the other on one connection of a pool. Each subscription
// has a connection of its own, a goroutine that reads it and never waits for anything but the server, and a bounded
// buffer from which the caller of Subscribe feeds the sink. A connection lives as long as bytes come in, not as long as
// bytes go out: a half-open one would take those for hours.
package redis
