// Package sqlite keeps dead letters, and which events were handled, in a database: in a file of its own by the URL sqlite:path, or by
// [NewDeadLetters] and [NewDedup] in any database that database/sql reaches and that takes the SQL of SQLite 3 as it is used here,
// which PostgreSQL does. [Once] makes the effect of an event in a database exactly once.
//
// Importing it makes the scheme sqlite known. A letter is on the disk when Put returns: the journal is synchronised.
package sqlite
