// Package redis carries messages over Redis: redis:// is Pub/Sub, and redis+stream:// is Streams, which store them;
// with TLS, rediss:// and rediss+stream://.
//
// # Pub/Sub
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
// # Streams
//
// Each channel is a stream, and a group of subscriptions is a consumer group, made by the first member, at the first
// entry that is retained unless it asks to start now. Each message comes again until it is settled. A member that
// dies loses its deliveries to the others once its lease has run out; while it lives it prolongs the leases of what
// it has. Members of a group read at the same time: no order is promised. A subscription without a group reads
// everything from then on, and leaves nothing on the server; there is nothing to settle for it, and what it failed to
// handle does not come again.
//
// What is asked for again later, and what is published with a NotBefore, waits on the server, in a stream of the
// group's own beside the channel's, and comes back to that group alone.
//
// The server's clock may jump: a retry that is due in a minute comes in a minute nevertheless, and what a dead member had a
// lease later, as long as some member of some group is connected. Jumps of some seconds are followed.
//
// An entry has two fields: body, and meta, which has the rest of the message. Any client may XADD an entry with a
// body and no meta; an entry without a body is delivered as malformed. With format=watermill entries are those of
// github.com/ThreeDotsLabs/watermill-redisstream: import brokers/redis/watermill for its side effect.
//
// The keys of the channel user.events are, with prefix=eventbus: as by default,
//
//	eventbus:{user.events}                  the stream; with format=watermill it is user.events
//	eventbus:{user.events}:parked:billing   a stream: what the group billing gets again
//	eventbus:{user.events}:due:billing      a sorted set: when
//	eventbus:channels                       a set: the channels that patterns are matched with
//	eventbus:clock                          a sorted set: by how much the server's clock has jumped
//
// A stream is trimmed by those who publish to it and those who read it: of what every group has settled, what is
// older than retention, or more than retention_entries, is removed. Nothing that a group has not settled is removed,
// for as long as the group exists, unless max_age or max_entries say so; what a group lost to those is a Gap. A
// channel without any group keeps its messages for retention.
//
// A group that nobody uses any more would so keep everything for ever, in the server's memory. Warnings names a group that
// keeps messages of more than a day, with the command that destroys it. With forget=168h, for example, it is removed, with
// what is parked for it, once no consumer has asked for it that long and it keeps messages as old; Warnings says so. Its
// service, when it is back, finds a new group. Whatever opens the channel has to say forget, with create; a service that
// may be away for longer than that loses what it had not settled.
//
// A server stores what it confirms as its configuration says: set appendonly yes, with appendfsync always where not
// even the last moments before a crash may be lost. Warnings tells of a server that has no append-only file, or that
// may evict streams, and, for as long as that lasts, of one that denies what it is asked to write: that trims nothing, or hands out
// nothing to groups because its disk or its memory is full. It has to be 6.2 or later. A Redis Cluster is refused.
//
// # URL
//
//	redis://[user[:password]@][host[:6379]][/database][?parameter=value&...]      redis+stream:// likewise
//
//	dial_timeout     longest connecting, with TLS included (2s)
//	read_timeout     longest wait for the replies to one pipeline (1s)
//	write_timeout    longest writing of one pipeline (1s)
//	pool_size        most connections that publish at the same time (16)
//	max_bytes        longest body that is published (16777216)
//	client_name      what the connections are called in CLIENT LIST
//	password_file    file with the password
//	password_env     environment variable with it
//	sentinel         name of the master that sentinels watch; the hosts of the URL are then sentinels (:26379)
//	sentinel_user, sentinel_password_file, sentinel_password_env   what the sentinels want
//	tls_ca           PEM file of the authorities that signed the server's certificate (with TLS only; else the system's)
//	tls_cert         PEM file of the client's certificate (with TLS only)
//	tls_key          PEM file of its key (with TLS only)
//
// Files are read again for each connection: a password or a certificate can be changed without a restart. Of Pub/Sub
// only:
//
//	ping_interval    silence after which a subscription asks for a sign of life; after two of them it reconnects (3s)
//	buffer_messages  most messages that wait for one subscription's handlers (65536)
//	buffer_bytes     most bytes of bodies that do (33554432); with max_bytes, raise the server's client-output-buffer-limit
//
// Of Streams only:
//
//	create             false forbids to make streams and groups, and to write the set of channels (true)
//	prefix             what keys begin with (eventbus:)
//	format             eventbus, or one that was registered (eventbus)
//	lease              how long a group waits for a member that does not answer (30s)
//	prefetch           most unsettled deliveries of a subscription that does not say (512)
//	consumer           name of this process in its groups, which then first gets what was pending with it when it ended; no two
//	                   processes may have the same (a new one for each subscription)
//	retention          how long messages are kept that every group has settled (1h)
//	retention_entries  how many of them, about; 0 for no bound (1000000)
//	max_age            how long a message is kept at all (no bound)
//	max_entries        how many are, about (no bound)
//	forget             after how long a group is removed that nobody reads for and that keeps messages as old; 1h or more (never)
//
// # Rights
//
// A user who only publishes to streams, with create=false, needs +xadd on ~eventbus:{*}. One who subscribes with
// create=false needs, on ~eventbus:*, +@stream +@sortedset +smembers +eval +evalsha +time; so does one who may
// create, and +sadd. For the warnings it takes +info.
//
// # How it works
//
// Publish writes a batch as pipelines of PUBLISH or XADD, one after the other on one connection of a pool. Each
// subscription has a connection of its own and a goroutine that reads it: of Pub/Sub it never waits for anything but
// the server, and fills a bounded buffer from which the caller of Subscribe feeds the sink; of Streams it reads as
// many entries as there is room for, so that a sink that blocks stops it. A Pub/Sub connection lives as long as bytes
// come in, not as long as bytes go out: a half-open one would take those for hours. A group or a stream that was
// deleted is made again within 5 s, with a Gap that says so.
package redis
