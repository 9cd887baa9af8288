// Package memory is a broker inside the process: for tests, for examples and for the first five minutes. Its scheme is
// memory. Import it for its side effect and open memory:// for a broker of that one connection, or memory://name for
// one that all connections of that name in the process share until the last of them closes; or call [New].
//
// # What it promises
//
// Groups, patterns, order per key, attempts and delays; nothing survives the process, and nothing is kept for later:
// a message that no subscription or group wants at the time is taken and gone, as with Redis Pub/Sub. A group exists
// from its first subscription until the broker ends, so messages for a group without members wait for the next one.
//
// Order: a subscription that is alone (no group, or a group of one) gets each publisher's messages in the order of its
// Publish calls. Members of a group share it key by key: as long as one member has an unsettled delivery of a key, no
// other member gets that key. A message that is delivered again comes before those that were never delivered.
//
// # What is bounded
//
// Each group, and each subscription without one, has a queue bounded in messages (parameter queue, 16384) and in bytes
// of bodies and headers (parameter queue_bytes, 64 MiB), counted until they are settled. A queue that is full makes
// Publish wait until its context ends; a message then either got into all queues that it is for, or is marked NotSent
// and got into none. So a sink that blocks holds up publishers of its channels and misses nothing. A message larger
// than queue_bytes is let into an empty queue.
//
// A group without members has nobody to wait for: when its queue is full, the oldest message gives way, and the next
// member gets a gap with their count.
//
// # What it costs
//
// One mutex for the broker, no goroutine of its own, one copy of a body whatever the number of subscriptions. Copies of
// small bodies of one batch share blocks of 4 KiB, so a body that a subscriber keeps may keep its neighbours. A bus
// need not decode what a bus of the process has published, since a connection is a brokers.Local.
package memory
