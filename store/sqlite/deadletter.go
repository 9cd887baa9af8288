package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/eventbus-go/eventbus/store/deadletter"
)

// DefaultMaxLetters bounds the letters of a database: at 1 KB each, a gigabyte of disk.
const DefaultMaxLetters = 1_000_000

func init() { deadletter.Register("sqlite", openDeadLetters) }

// openDeadLetters opens sqlite:path, or sqlite:path?max_letters=1000. A letter is on the disk once it is written.
func openDeadLetters(text string) (deadletter.Store, error) {
	db, limit, err := open(text, "max_letters", "FULL")
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
	table table
}

// NewDeadLetters returns a store of at most max letters; 0 or less means DefaultMaxLetters. Put refuses more with
// deadletter.ErrFull. Close calls closer, unless it is nil.
func NewDeadLetters(db *sql.DB, max int, closer func() error) *DeadLetters {
	if max <= 0 {
		max = DefaultMaxLetters
	}
	return &DeadLetters{db: db, max: max, close: closer, table: newTable(create, createIndex, createCount, beginCount)}
}

// The table, the same in SQLite and PostgreSQL. place orders the letters; see deadletter.Place.
const create = `CREATE TABLE IF NOT EXISTS eventbus_dead_letters (
	id TEXT PRIMARY KEY, rev TEXT NOT NULL, place TEXT NOT NULL, letter TEXT NOT NULL)`

const createIndex = `CREATE INDEX IF NOT EXISTS eventbus_dead_letters_place ON eventbus_dead_letters (place)`

// How many letters there are is in a row of its own, so that a write does not count them. Whoever removes letters by hand leaves it
// too high: it is counted anew before a letter is refused.
const (
	createCount = `CREATE TABLE IF NOT EXISTS eventbus_dead_letters_count (id INTEGER PRIMARY KEY, n BIGINT NOT NULL)`
	beginCount  = `INSERT INTO eventbus_dead_letters_count (id, n) SELECT 1, count(*) FROM eventbus_dead_letters WHERE true ON CONFLICT DO NOTHING`
	addCount    = `UPDATE eventbus_dead_letters_count SET n = n + $1 WHERE id = 1`
	recount     = `UPDATE eventbus_dead_letters_count SET n = (SELECT count(*) FROM eventbus_dead_letters) WHERE id = 1`
	readCount   = `SELECT n FROM eventbus_dead_letters_count WHERE id = 1`
)

// Put implements deadletter.Store: all letters or none.
func (d *DeadLetters) Put(ctx context.Context, letters ...deadletter.Letter) error {
	return d.tx(ctx, func(tx *sql.Tx) error {
		added := 0
		for i := range letters {
			fresh, err := replace(ctx, tx, &letters[i])
			if err != nil {
				return err
			}
			added += fresh
		}
		if added == 0 {
			return nil
		}
		return d.count(ctx, tx, added)
	})
}

// count adds to the number of letters, and refuses what is too much.
func (d *DeadLetters) count(ctx context.Context, tx *sql.Tx, added int) error {
	if _, err := tx.ExecContext(ctx, addCount, added); err != nil {
		return err
	}
	for _, again := range []string{"", recount} {
		if again != "" {
			if _, err := tx.ExecContext(ctx, again); err != nil {
				return err
			}
		}
		var n int
		if err := tx.QueryRowContext(ctx, readCount).Scan(&n); err != nil {
			return err
		}
		if n <= d.max {
			return nil
		}
	}
	return deadletter.ErrFull
}

// replace writes a letter, and returns how many more there are.
func replace(ctx context.Context, tx *sql.Tx, l *deadletter.Letter) (fresh int, err error) {
	text, err := json.Marshal(l)
	if err != nil {
		return 0, err
	}
	r, err := tx.ExecContext(ctx, `DELETE FROM eventbus_dead_letters WHERE id = $1`, l.ID)
	if err != nil {
		return 0, err
	}
	old, err := r.RowsAffected()
	if err != nil {
		return 0, err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO eventbus_dead_letters (id, rev, place, letter) VALUES ($1, $2, $3, $4)`,
		l.ID, l.Rev, deadletter.Place(*l), string(text))
	return 1 - int(old), err
}

// tx runs do in a transaction.
func (d *DeadLetters) tx(ctx context.Context, do func(*sql.Tx) error) error {
	if err := d.table.ready(ctx, d.db); err != nil {
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
	if err := d.table.ready(ctx, d.db); err != nil {
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
		_, err := tx.ExecContext(ctx, addCount, -removed)
		return err
	})
	return removed, err
}

// Stats implements deadletter.Store.
func (d *DeadLetters) Stats(ctx context.Context) (st deadletter.Stats, err error) {
	if err := d.table.ready(ctx, d.db); err != nil {
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
