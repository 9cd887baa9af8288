// Command bench measures eventbus against what one would use without it, side by side on one machine: the raw protocol
// written by hand, the client library alone, Watermill, encoding/json. What counts is the ratio of two sides that were
// measured in turns within one run; absolute figures depend on the machine and on what else it does.
//
//	go run ./internal/bench                 # the whole table, in under five minutes
//	go run ./internal/bench -short -json    # the figures of one JSON object, in under 45 seconds
//	go run ./internal/bench -brokers        # Redis Streams, NATS, JetStream, Kafka, RabbitMQ, in under ten minutes,
//	                                        # with -short in under three
//	go run ./internal/bench -markdown       # the table as the README has it
//	go run ./internal/bench -row latency -cpuprofile cpu.out
//
// It starts a redis-server of its own on a free port; without one it fails. Client and server share the machine's
// cores, so a raw connection is the most that any client could do here, not the most that Redis can do.
//
// How it measures: each figure is the median of five runs of each side (three with -short), taken in turns, A B A B,
// with a garbage collection before each; a ratio is the median of the ratios of neighbouring runs. The spread beside
// it is the lowest and the highest of them. A side that loses, drops or fails to confirm one event is an error, not a
// figure.
package main
