// Package sqlite keeps dead letters in a database: in a file of its own by the URL sqlite:path, or by [NewDeadLetters] in any
// database that database/sql reaches and that takes the SQL of SQLite 3 as it is used here, which PostgreSQL does.
//
// Importing it makes the scheme sqlite known. What is kept is on the disk when Put returns: the journal is synchronised.
package sqlite
