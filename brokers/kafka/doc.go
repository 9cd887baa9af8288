// Package kafka carries messages over Apache Kafka: kafka://. It needs Kafka 2.4 or later.
//
// Take it where events have to be kept and read again, where several services read at their own pace, and where the order
// of a key matters with many consumers. It promises durability, groups, order per key, patterns and replay. It does not
// count attempts across restarts, delay messages or drop duplicates: a consumer recognises those by their ID.
//
// A channel is the topic of its name. Kafka does not tell a.b from a_b in its metrics and refuses to have both.
//
// A message on the wire is a record: the body is the value, the key the key, and the partition is that of the Java client
// (murmur2 of the key; messages without a key go to any). ID, type, priority and time are the record headers eventbus-id,
// eventbus-type, eventbus-priority and eventbus-time, followed by the message's own. The record's timestamp is when it was
// published: brokers delete by it.
//
// # URL
//
//	kafka://[user[:password]@]host[:9092][?parameter=value&...]
//	kafka://[user[:password]@]host:9092,host:9092...[?parameter=value&...]
//
//	create              create topics that do not exist (true)
//	partitions          partitions of a topic that is created (the broker's default, num.partitions)
//	replication         replicas of a topic that is created (the broker's default, default.replication.factor)
//	max_bytes           longest body that is published (1000000); raise message.max.bytes of the broker with it
//	client_id           what the connections are called in the broker's logs and quotas (eventbus)
//	dial_timeout        longest connecting, with TLS and login included (3s)
//	request_timeout     longest wait for one response (10s)
//	startup_timeout     how long topics wait, after a broker came, for another one of a cluster that has fewer than replication (30s)
//	metadata_ttl        how soon topics, partitions and leaders that are new are seen at the latest (5s)
//	session_timeout     silence after which a group takes a member for dead (10s)
//	heartbeat_interval  how often a member shows that it lives, and how soon it learns of a rebalance (1s)
//	rebalance_timeout   how long a group waits for a member that finishes what it handles (30s)
//	commit_interval     how often the settled part of each partition is committed (100ms)
//	buffer_bytes        most bytes that are fetched and not settled, for one subscription (33554432)
//	max_ahead           how many messages of a partition are delivered ahead of its oldest unsettled one (65536)
//	max_uncommitted     how many messages are settled at most before a commit is waited for (10000)
//	sasl                plain, scram-sha-256 or scram-sha-512 (plain where there is a user)
//	password_file       file with the password
//	password_env        variable of the environment with it
//	tls                 true for TLS with the system's authorities (false)
//	tls_ca              PEM file of the authorities that signed the brokers' certificates
//	tls_cert            PEM file of the client's certificate
//	tls_key             PEM file of its key
//
// Files are read again for each connection: a password or a certificate can be changed without a restart.
//
// # Rights
//
// A service that runs with create=false needs, to publish, WRITE on its topics; to be in a group, READ on the topics and on the
// group; without a group, READ on the topics. DESCRIBE comes with each of them. Provision needs CREATE on the topics or the cluster,
// and READ on the groups and their topics; Lag needs what the group does. A right that is lacking is one error that names it.
//
// # Subscriptions
//
// A subscription with a group is a member of the Kafka group of that name. A partition has one member at a time, so that
// more members than partitions leave some idle. What is settled is committed as far as everything before it in its
// partition is settled, bound to the generation of the group, so that a member that was thought dead commits nothing. When
// the group rebalances, a member stops delivering, waits until what is being handled is settled, commits and hands over.
// A group that Kafka does not know begins with the first retained message, or with StartNow at the end of the topics that
// exist then; topics and partitions that come later are read from their beginning.
//
// A subscription without a group gets every message from when it is ready on; Start is about groups only. Its place is in
// memory.
//
// A message that is asked for again waits in this process, and later ones of its key that were not delivered yet wait
// behind it; when the process ends it comes again because it was never committed, and so may messages after it that were
// settled. Delivery.Attempt counts within this process. A message that is asked for again for long holds back what is committed
// of its partition, and nothing else: max_ahead bounds how many come twice after a crash, or after a rebalance that gives the
// partition to another member, and then its partition waits for it. Commits follow up to commit_interval later, and at once
// where half of max_uncommitted is settled; nothing is delivered beyond it until the broker has answered. So much comes again
// after a crash, of this process or of the broker, even where all was settled, and what was being handled.
//
// Patterns are matched against the list of topics, which is renewed every metadata_ttl; a topic that appears is read from
// its beginning. Every member of a group should have the same channels.
//
// What can never work, such as more replicas than brokers or a session that the broker finds too short, ends Subscribe before it
// is ready. Afterwards it is reported once as a Gap, which may have missed nothing, and tried again ever more seldom, every 10 s
// at last.
//
// Messages that retention removed before they were read are a Gap with their count. A topic that was deleted and made anew is a
// Gap, too, and read from its beginning.
package kafka
