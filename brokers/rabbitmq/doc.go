// Package rabbitmq carries messages over RabbitMQ, by AMQP 0-9-1: amqp://, and amqps:// with TLS.
//
// Messages are stored: each group has queues of its own, in which a message waits until it is settled, at least once. A group
// gets what is published from the moment when its queues exist, which is when its first subscription is ready or when it was
// provisioned; there is no way back to what was before. A subscription without a group has a queue that ends with its
// connection, and reports a gap where that was lost.
//
// Consumers of a queue take its messages in turn, so that no order is promised; with single_active it is: one of them gets
// everything, key by key, until it ends. Take Kafka where many consumers have to keep the order of keys.
//
// # URL
//
//	amqp://[user:password@]host[:5672][,host2...][/vhost][?parameter=value&...]      amqps:// likewise, port 5671
//
//	dial_timeout     longest connecting, with TLS and login included (2s)
//	write_timeout    longest writing before the connection is given up (10s)
//	heartbeat        how often both sides give a sign of life; without one for one and a half of it, it reconnects (4s)
//	max_bytes        longest body that is published (1048576)
//	client_name      what the connections are called in the broker's own tools (eventbus)
//	exchange         the topic exchange, and what the names of queues begin with (eventbus)
//	queue            quorum or classic: the kind of the groups' queues (quorum)
//	single_active    true gives all of a queue's messages to one consumer at a time, which keeps their order (false)
//	create           false forbids to make and to bind anything for a group; there is no Delay then (true)
//	settle_time      how long a quorum queue that was just made is left alone before it is relied upon (1500ms)
//	prefetch         most unsettled deliveries of a subscription that does not say, 65535 at most, shared evenly by its
//	                 queues, each of which has one at least (512)
//	required         channels, as patterns separated by commas, on which a message that no queue wants is an error
//	auth             plain, or external: by the client's certificate (plain)
//	password_file    file with the user's password
//	password_env     environment variable with the user's password
//	tls_ca           PEM file of the authorities that signed the server's certificate (else the system's)
//	tls_cert         PEM file of the client's certificate
//	tls_key          PEM file of its key
//
// Without a user it is guest, with the password guest, whom a server lets in from its own machine only. Files and variables are
// read again for each connection: a credential can be changed without a restart.
//
// # What it makes on the server
//
// Everything is published to one durable topic exchange, with the channel as the routing key. A group has a durable queue for
// each pattern that it reads, such as eventbus:mail:user_service.events.auth; patterns that overlap share one. What a service
// reads can so be changed by a new version: what it reads no more is a queue of its own, to be deleted by an operator. A
// pattern ending in > is bound as *.#. Lag is known by queue: of a channel that a group reads by its name it is the channel's, and
// of a pattern that of all that matches it, once, under the pattern. What waits for a redelivery is not in it.
//
// What is to be delivered again after a while waits in a queue behind the group's queue, such as ...auth:after:4096, whose
// messages expire after that many milliseconds and come back to the one queue that they are for. There are twelve at most, from
// 16 ms to 18 h, each made when it is first needed; a longer or odd wait is made of several. Each copy is confirmed before the
// message is acked; behind a quorum queue they are quorum queues, too, and dead-letter at least once. Where none can be had at
// once, such as while the server takes no messages, the message waits unsettled in this process.
//
// Messages carry the properties message_id, type, timestamp and priority, are persistent, and have the headers eb-key, eb-time
// (nanoseconds) and eb-order; the publisher's own headers keep their names, unless those begin with eb- or x- or are CC or BCC,
// by which the server would act. The user needs the rights to configure, write and read the exchange and all names that begin
// with it, and to write to amq.default; with create=false, to write and to read.
//
// # How it works
//
// One connection publishes and another one consumes, so that a server that takes no messages (connection.blocked) still takes
// acks. The client's own recovery is off: a link opens one session after another, for ever. Publishing goes over one channel
// in confirm mode, since that is what the server keeps the order of; every message is mandatory, so that the server
// returns what no queue wants: it is counted (brokers.Unrouter), and on a required channel it is Rejected. A message whose
// confirm was lost is Unknown: nothing is sent again from here.
//
// Deliveries need no lease: the server waits until they are settled or the connection ends. But it closes the channel of a
// consumer that settles nothing for consumer_timeout, 30 minutes by default, and delivers again: a handler that may take longer
// needs that to be longer. A connection that is lost gives back what was not settled; a message that comes again while
// its handler still runs here is not handed over twice. A queue that was deleted is made again at once, and an exchange and
// bindings within 2 s, with a Gap that says so.
//
// An attempt is counted by quorum queues (x-delivery-count) and by the copies; a classic queue only says that a message came
// before, so that Attempts is not promised then, and the attempt is 0, unknown, after a connection was lost. RabbitMQ 4 drops
// what came back 20 times without a settlement: set delivery-limit to -1 by a policy for the queues of this package.
package rabbitmq
