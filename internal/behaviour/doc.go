// Package behaviour is the table of what becomes of an event whose handler fails, or succeeds twice, or never ends: the same on every
// broker, except where the promises of a broker say otherwise.
//
// It has tests only. Each row is a behaviour, in a file by its theme; each column is a broker, a real server where there is one. A row
// that needs a promise names it: a broker that does not make it is held to what the row says of it instead. The test ends with the
// table of what was held where, which go test -v shows and which is appended to the file that EVENTBUS_FIGURES names.
//
// With EVENTBUS_FULL=1 an outage lasts a minute, and rows that are timed run alone, at the end, and are held to their bounds.
//
// A row adds its subscriptions to the one bus of a broker, and is checked while the others are, so that the table takes as long as its
// slowest row. To add one, write a function that returns what checks it, and put it into rows.
package behaviour
