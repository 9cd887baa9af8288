// Package nats carries messages over NATS: nats:// is core NATS, and nats+js:// is JetStream, which stores them.
//
// Core NATS is Pub/Sub. A message reaches the subscribers that are connected when it is published, and nobody else:
// nothing is stored. What a subscriber may have missed is reported as a brokers.Gap, with a count where it was this package
// or its client that dropped, and without one where the connection was lost. There are no groups: NATS's queue groups
// share messages, but lose what is published while no member runs. Take JetStream where an event must not be lost, or
// where subscribers share the work.
//
// JetStream keeps each message in a stream. Members of a group share a durable consumer, and each message comes again until it
// is settled. A subscription without a group begins with what is published from then on. Two messages of one key may be
// with two members of a group at a time: no order is promised.
//
// A message's channel is its subject. Its body says everything about an event, and headers cost more than the rest of
// publishing, so that by default there are only those that are needed: Eb-Key where the key is neither the event's subject
// nor its id, and the publisher's own, which keep their names unless those begin with Nats- or Eb-. JetStream has Eb-Type, too,
// and Nats-Msg-Id, which is the id, a | and the channel, so that the server drops a second publish of one event on one
// channel for as long as dedup_window. headers=all adds Eb-Id, Eb-Type, Eb-Key and Eb-Priority for readers that decode no bodies.
//
// # URL
//
//	nats://[user:password@]host[:4222][,host2...][?parameter=value&...]      nats+js:// likewise
//
//	dial_timeout     longest connecting, with TLS and login included (2s)
//	write_timeout    longest writing before the connection is given up (1s)
//	ping_interval    silence after which the server is asked for a sign of life; it reconnects after three of them (3s)
//	max_bytes        longest body that is published (1032192: the server's max_payload of 1 MiB without room for headers)
//	client_name      what the connections are called in the server's monitoring (eventbus)
//	password_file    file with the user's password
//	password_env     variable of the environment with it
//	token_file       file with a token; nats://token@host works, too
//	nkey_seed        file with the seed of an nkey
//	creds            credentials file (a JWT and the seed of its nkey)
//	tls              true switches TLS on, and so does each of the next four
//	tls_first        true where the server wants TLS before it says anything
//	tls_ca           PEM file of the authorities that signed the server's certificate (else the system's)
//	tls_cert         PEM file of the client's certificate
//	tls_key          PEM file of its key
//
//	headers          needed, all or none of our own headers; none loses a key that is not in the body (needed)
//
// Files are read again for each connection: a credential can be changed without a restart. Of core NATS only:
//
//	buffer_messages  most messages that wait for one subscription's handlers (65536)
//	buffer_bytes     most bytes of bodies that do (33554432)
//
// Of JetStream only:
//
//	create           false forbids to make and to change streams and the consumers of groups: see Provision (true)
//	stream           the one stream for all channels, together with:
//	subjects         its channels, as patterns separated by commas
//	storage          file or memory, of a stream that is made (file)
//	replicas         copies of a stream that is made (1)
//	max_age          how long a stream that is made keeps a message (168h)
//	dedup_window     how long a stream that is made remembers ids (2m)
//	ack_wait         how long a group that is made waits for a member that does not answer (30s)
//	prefetch         most unsettled deliveries of a subscription that does not say (1024)
//
// Without stream and subjects there is a stream for each first token of a channel: user_service.events.all is in the stream
// eventbus-user_service, which takes user_service and user_service.>. A stream that was made for these subjects before,
// under whatever name and with whatever settings, is used as it is.
//
// # Rights
//
// A service that runs with create=false needs, to publish, the right to publish on its channels and to subscribe to _INBOX.>; to be
// in a group, the rights to publish to $JS.API.STREAM.INFO.*, $JS.API.CONSUMER.INFO.*.*, $JS.API.CONSUMER.MSG.NEXT.*.* and
// $JS.ACK.>, and to subscribe to _INBOX.>; without a group, $JS.API.CONSUMER.CREATE.> and $JS.API.CONSUMER.DELETE.*.* besides.
// Provision and Lag say which ones they need. A right that is lacking is one error that names it.
//
// # Order
//
// JetStream promises none. The members of a group pull from one consumer, and the server hands out messages in their order, but to
// whoever asks next: two events of one key are with two members at a time, and one that comes again comes after later ones. What the
// server has to keep an order, one message in flight (MaxAckPending 1) or one member that gets all (a pinned client), is no
// sharing of the work. On core NATS a key keeps its order, since one connection carries it.
//
// # Clocks
//
// JetStream counts delays and leases by its server's clock. Where that jumps, the members of a group tell it again how long what they
// have sent back is to wait by their own clocks, and send back what comes early; no handler sees that, and it is no attempt. What a
// member that is gone had sent back comes early then.
//
// # How it works
//
// A link holds one connection after the other: one for what is published, one for what is received. The client's own
// reconnecting is off, so that each end of a connection is seen here, where outcomes and gaps are decided. On core NATS
// the PONG to a PING confirms the messages before it; on JetStream each message has its own confirmation, and
// 4,096 may be under way. JetStream's deliveries are leased, and each lease is prolonged while its handler runs. A consumer or
// a stream that was deleted is made again within 5 s, with a Gap that says so; a consumer goes on where everything before was
// settled, so that some messages come twice.
package nats
