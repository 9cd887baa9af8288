// Package deadletter keeps the events that a subscription gave up on, with everything that is needed to find out why and to
// try again: the bytes as they came, the channel, the errors and the attempts.
//
// The bus writes letters; this package has what reads them. A [Store] keeps them: [NewMemory] within the process, package
// store/redis on a Redis server, package store/sqlite in a file. A configuration chooses one by its URL, see [Open].
//
// [Groups] sorts letters by the fingerprint of their error, so that ten thousand failures of one cause are one line; [Redrive]
// sends letters again, all or some, at a rate, and may be interrupted and repeated at any point; [Purge] removes letters.
//
// What is promised is at least once: a letter that was written is there until it was sent again and the broker has confirmed
// it, or until it is removed by hand. A process that is killed in between may leave a letter of an event that was sent.
package deadletter
