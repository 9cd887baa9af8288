package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	_ "modernc.org/sqlite" // the driver "sqlite", without cgo

	"github.com/eventbus-go/eventbus/store/deadletter"
)

// DefaultMaxLetters bounds the letters of a database: at 1 KB each, a gigabyte of disk.
const DefaultMaxLetters = 1_000_000

func init() { deadletter.Register("sqlite", open) }

// open opens sqlite:path, or sqlite:path?max_letters=1000.
func open(text string) (deadletter.Store, error) {
	path, query, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(text, "sqlite:"), "//"), "?")
	params, err := url.ParseQuery(query)
	if err != nil || path == "" {
		return nil, fmt.Errorf("%q is no SQLite URL: write it as sqlite:letters.db", text)
	}
	limit := 0
	for key, values := range params {
		if limit, err = strconv.Atoi(values[0]); key != "max_letters" || err != nil || limit < 1 {
			return nil, fmt.Errorf("sqlite: knows one parameter, max_letters, a number; not %s=%s", key, values[0])
		}
	}
	dsn := "file:" + url.PathEscape(path) + "?_pragma=busy_timeout(1000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)" +
		"&_txlock=immediate"
	db, err := sql.Open("sqlite", strings.ReplaceAll(dsn, "%2F", "/"))
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(4)
	return NewDeadLetters(db, limit, db.Close), nil
}

// A DeadLetters is a deadletter.Store in a table of a database, which its first use creates. Its methods are safe for concurrent
// use.
type DeadLetters struct {
	db    *sql.DB
	max   int
	close func() error
	made  chan bool // has one element: whether the table is there
}

// NewDeadLetters returns a store of at most max letters; 0 or less means DefaultMaxLetters. Put refuses more with
// deadletter.ErrFull. Close calls closer, unless it is nil.
func NewDeadLetters(db *sql.DB, max int, closer func() error) *DeadLetters {
	if max <= 0 {
		max = DefaultMaxLetters
	}
	d := &DeadLetters{db: db, max: max, close: closer, made: make(chan bool, 1)}
	d.made <- false
	return d
}

// The table, the same in SQLite and PostgreSQL. place orders the letters; see deadletter.Place.
const create = `CREATE TABLE IF NOT EXISTS eventbus_dead_letters (
	id TEXT PRIMARY KEY, rev TEXT NOT NULL, place TEXT NOT NULL, letter TEXT NOT NULL)`

const createIndex = `CREATE INDEX IF NOT EXISTS eventbus_dead_letters_place ON eventbus_dead_letters (place)`

// ready creates the table where that has not been done.
func (d *DeadLetters) ready(ctx context.Context) (err error) {
	var made bool
	select {
	case made = <-d.made:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { d.made <- made || err == nil }()
	if made {
		return nil
	}
	for _, stmt := range []string{create, createIndex} {
		if _, err := d.db.ExecContext(ctx, stmt); err != nil {
			return err
		}
	}
	return nil
}

// Put implements deadletter.Store: all letters or none.
func (d *DeadLetters) Put(ctx context.Context, letters ...deadletter.Letter) error {
	return d.tx(ctx, func(tx *sql.Tx) error {
		for i := range letters {
			if err := replace(ctx, tx, &letters[i]); err != nil {
				return err
			}
		}
		var n int
		if err := tx.QueryRowContext(ctx, `SELECT count(*) FROM eventbus_dead_letters`).Scan(&n); err != nil {
			return err
		}
		if n > d.max {
			return deadletter.ErrFull
		}
		return nil
	})
}

func replace(ctx context.Context, tx *sql.Tx, l *deadletter.Letter) error {
	text, err := json.Marshal(l)
	if err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `DELETE FROM eventbus_dead_letters WHERE id = $1`, l.ID); err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO eventbus_dead_letters (id, rev, place, letter) VALUES ($1, $2, $3, $4)`,
		l.ID, l.Rev, deadletter.Place(*l), string(text))
	return err
}

// tx runs do in a transaction.
func (d *DeadLetters) tx(ctx context.Context, do func(*sql.Tx) error) error {
	if err := d.ready(ctx); err != nil {
		return err
	}
	tx, err := d.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := do(tx); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

// Page implements deadletter.Store.
func (d *DeadLetters) Page(ctx context.Context, cursor string, limit int) (out []deadletter.Letter, next string, err error) {
	if err := d.ready(ctx); err != nil {
		return nil, "", err
	}
	rows, err := d.db.QueryContext(ctx,
		`SELECT letter FROM eventbus_dead_letters WHERE place > $1 ORDER BY place LIMIT $2`, cursor, limit)
	if err != nil {
		return nil, "", err
	}
	defer rows.Close()
	for rows.Next() {
		var text []byte
		var l deadletter.Letter
		if err := rows.Scan(&text); err != nil {
			return nil, "", err
		}
		if err := json.Unmarshal(text, &l); err != nil {
			return nil, "", fmt.Errorf("a letter cannot be read: %w", err)
		}
		out = append(out, l)
	}
	if len(out) == limit {
		next = deadletter.Place(out[len(out)-1])
	}
	return out, next, rows.Err()
}

// Remove implements deadletter.Store.
func (d *DeadLetters) Remove(ctx context.Context, letters ...deadletter.Letter) (removed int, err error) {
	err = d.tx(ctx, func(tx *sql.Tx) error {
		for i := range letters {
			r, err := tx.ExecContext(ctx, `DELETE FROM eventbus_dead_letters WHERE id = $1 AND rev = $2`, letters[i].ID, letters[i].Rev)
			if err != nil {
				return err
			}
			n, err := r.RowsAffected()
			if err != nil {
				return err
			}
			removed += int(n)
		}
		return nil
	})
	return removed, err
}

// Stats implements deadletter.Store.
func (d *DeadLetters) Stats(ctx context.Context) (st deadletter.Stats, err error) {
	if err := d.ready(ctx); err != nil {
		return st, err
	}
	var first sql.NullString
	err = d.db.QueryRowContext(ctx, `SELECT count(*), min(place) FROM eventbus_dead_letters`).Scan(&st.Depth, &first)
	if err != nil || !first.Valid {
		return st, err
	}
	l, err := deadletter.ParsePlace(first.String)
	st.Oldest = l.Last
	return st, err
}

// Close implements deadletter.Store.
func (d *DeadLetters) Close() error {
	if d.close == nil {
		return nil
	}
	return d.close()
}
