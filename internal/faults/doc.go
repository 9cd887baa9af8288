// Package faults is the table of what a broken world does to the bus and what must hold nevertheless: a redis-server
// that is killed or frozen, alone or beside a nats-server, connections that are half open, handlers that are slow or
// panic, messages that are no events.
//
// It has tests only, one file for each row of the table, against a redis-server of its own, through the public API of
// package bus. Each test asserts bounds that leave room for a busy machine, and prints what it measured in one line,
// which go test -v shows and which is appended to the file that EVENTBUS_FIGURES names, if it names one.
//
// Whether anything was lost silently is not asked of the bus alone: a witness around the driver writes down what was
// sent and what the driver said of it, a tally in the handlers what arrived, and the two are compared with the ledger
// and the gaps that the bus reports.
//
// With EVENTBUS_FULL=1 the rows are run in full size, and held to their bounds in time; otherwise with fewer events.
package faults
