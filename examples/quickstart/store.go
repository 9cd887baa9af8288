package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	_ "modernc.org/sqlite" // SQLite in pure Go: no C compiler needed
)

// usersSchema is what the three services keep. User 1 is the administrator that every installation begins with.
const usersSchema = `
CREATE TABLE users (
	id            INTEGER PRIMARY KEY,
	email         TEXT NOT NULL UNIQUE,
	name          TEXT NOT NULL,
	status        TEXT NOT NULL,
	salt          BLOB NOT NULL,
	hash          BLOB NOT NULL,
	failed_logins INTEGER NOT NULL DEFAULT 0,
	theme         TEXT NOT NULL DEFAULT 'light'
);
CREATE TABLE roles    (user_id INTEGER NOT NULL, name TEXT NOT NULL, PRIMARY KEY (user_id, name));
CREATE TABLE sessions (id TEXT PRIMARY KEY, user_id INTEGER NOT NULL, revoked INTEGER NOT NULL DEFAULT 0);
CREATE TABLE totp     (user_id INTEGER PRIMARY KEY, seed BLOB NOT NULL, confirmed INTEGER NOT NULL DEFAULT 0);
CREATE TABLE backup_codes (user_id INTEGER NOT NULL, hash BLOB NOT NULL);

INSERT INTO users (id, email, name, status, salt, hash) VALUES (1, 'root@example.com', 'Root', 'active', '', '');
INSERT INTO roles (user_id, name) VALUES (1, 'admin');
`

// auditSchema is what the audit subscriber keeps.
const auditSchema = `
CREATE TABLE audit (
	event_id   TEXT PRIMARY KEY,
	event_type TEXT NOT NULL,
	subject    TEXT,
	actor      TEXT,
	time       TEXT NOT NULL,
	envelope   TEXT NOT NULL
);`

// errNotFound says that there is no such user, role or session.
var errNotFound = errors.New("not found")

// A store is an SQLite database.
type store struct{ *sql.DB }

// databases are one of the services, and one of the audit subscriber, who would live somewhere else.
type databases struct {
	users *store
	audit *store
	dir   string
}

// openDatabases makes new databases in a temporary folder. close removes them.
func openDatabases(ctx context.Context) (*databases, error) {
	dir, err := os.MkdirTemp("", "eventbus-quickstart-")
	if err != nil {
		return nil, err
	}
	db := &databases{dir: dir}
	if db.users, err = openStore(ctx, filepath.Join(dir, "users.db"), usersSchema); err == nil {
		db.audit, err = openStore(ctx, filepath.Join(dir, "audit.db"), auditSchema)
	}
	if err != nil {
		db.close()
		return nil, err
	}
	return db, nil
}

func (db *databases) close() {
	for _, s := range []*store{db.users, db.audit} {
		if s != nil {
			_ = s.Close() // nothing in it is kept
		}
	}
	_ = os.RemoveAll(db.dir)
}

// openStore makes a new database in a file.
func openStore(ctx context.Context, file, schema string) (*store, error) {
	dsn := "file:" + (&url.URL{Path: file}).EscapedPath() + "?_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)"
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	db.SetMaxOpenConns(1) // SQLite has one writer at a time: let them queue here instead of failing as "busy"
	if _, err := db.ExecContext(ctx, schema); err != nil {
		return nil, errors.Join(fmt.Errorf("store: %w", err), db.Close())
	}
	return &store{db}, nil
}

// inTx runs f in a transaction, which is committed where f returns nil and rolled back otherwise.
func (s *store) inTx(ctx context.Context, f func(tx *sql.Tx) error) error {
	tx, err := s.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	defer tx.Rollback() // does nothing after a commit
	if err := f(tx); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	return tx.Commit()
}

// change runs a statement that has to change at least one row.
func change(ctx context.Context, tx *sql.Tx, statement string, args ...any) error {
	res, err := tx.ExecContext(ctx, statement, args...)
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n > 0 {
		return err
	}
	return errNotFound
}

// A querier is a database or a transaction.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// rolesOf returns the names of a user's roles, sorted.
func rolesOf(ctx context.Context, q querier, user int64) (roles []string, err error) {
	rows, err := q.QueryContext(ctx, `SELECT name FROM roles WHERE user_id = ? ORDER BY name`, user)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, err
		}
		roles = append(roles, name)
	}
	return roles, rows.Err()
}
