// Package redis keeps dead letters on a Redis server, in three keys of one hash slot: the letters, their order, and where each of
// them stands in it. Package brokers/redis registers it for its URLs, so that a program with that driver needs no further
// import; import this package to give a store a client of your own.
//
// What is kept is as durable as the server: without an append-only file (appendonly yes), a server that is killed forgets the
// letters since its last snapshot.
package redis
