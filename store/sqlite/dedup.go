package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/eventbus-go/eventbus/store/dedup"
)

// DefaultMaxEvents bounds the handled events that a Dedup remembers: some 150 MB of disk.
const DefaultMaxEvents = 1_000_000

func init() { dedup.Register("sqlite", openDedup) }

// openDedup opens sqlite:path, or sqlite:path?max_events=1000. What is remembered outlives the process; a machine that loses its power
// may forget the last of it, since a commit for each event that waits for the disk would cost milliseconds.
func openDedup(text string) (dedup.Store, error) {
	db, limit, err := open(text, "max_events", "NORMAL")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1) // writers wait for each other anyway, and here they do so in turns
	d := NewDedup(db, limit)
	d.close = db.Close
	return d, nil
}

// A Dedup is a dedup.Store in a table of a database, which its first use creates: a row for each event that is being handled, or was
// within its window. Its methods are safe for concurrent use, by several processes too, whose clocks have to agree about the
// leases. A clock that is set back ends them in time all the same.
//
// Rows whose time is over are deleted once in a while. Where there are more than its bound of events, those that would be forgotten
// next are forgotten early, which Forgotten counts.
type Dedup struct {
	db    *sql.DB
	max   int
	close func() error
	table table
	now   func() time.Time

	confirmed atomic.Int64 // since the table was tidied last
	forgotten atomic.Int64
	tidying   sync.Mutex
}

// NewDedup returns a store of at most max handled events; 0 or less means DefaultMaxEvents. The bound may be exceeded by a hundredth,
// or by a thousand. It uses db, which stays open, and which takes the SQL of SQLite 3 as it is used here, as PostgreSQL does.
func NewDedup(db *sql.DB, max int) *Dedup {
	if max <= 0 {
		max = DefaultMaxEvents
	}
	return &Dedup{db: db, max: max, table: newTable(createDedup, createDedupIndex), now: time.Now}
}

const createDedup = `CREATE TABLE IF NOT EXISTS eventbus_dedup (
	scope TEXT NOT NULL, event_id TEXT NOT NULL, token TEXT NOT NULL, handled INTEGER NOT NULL, until BIGINT NOT NULL,
	lease BIGINT NOT NULL, PRIMARY KEY (scope, event_id))`

const createDedupIndex = `CREATE INDEX IF NOT EXISTS eventbus_dedup_until ON eventbus_dedup (until)`

// Reserve implements dedup.Store.
func (d *Dedup) Reserve(ctx context.Context, scope, id string, token uint64, lease time.Duration) (dedup.State, error) {
	now := d.now()
	n, err := d.exec(ctx, `INSERT INTO eventbus_dedup (scope, event_id, token, handled, until, lease) VALUES ($1, $2, $3, 0, $4, $5)
		ON CONFLICT (scope, event_id) DO UPDATE SET token = excluded.token, handled = 0, until = excluded.until, lease = excluded.lease
		WHERE eventbus_dedup.until <= $6`, scope, id, text(token), now.Add(lease).UnixMilli(), lease.Milliseconds(), now.UnixMilli())
	if err != nil || n == 1 {
		return dedup.Fresh, err
	}
	var handled int
	var until, held int64
	err = d.db.QueryRowContext(ctx, `SELECT handled, until, lease FROM eventbus_dedup WHERE scope = $1 AND event_id = $2`, scope, id).
		Scan(&handled, &until, &held)
	switch {
	case errors.Is(err, sql.ErrNoRows): // released in between: it can be had next time
		return dedup.Reserved, nil
	case handled == 1:
		return dedup.Handled, err
	case err == nil && until > now.UnixMilli()+held:
		err = d.shorten(ctx, scope, id, until, now.UnixMilli()+held)
	}
	return dedup.Reserved, err
}

// shorten has a lease of which more is left than it is long end one lease from now: the clock was set back since, and of a process
// that has died the event would be held for as long as that. A holder that is alive renews it within that time.
func (d *Dedup) shorten(ctx context.Context, scope, id string, from, to int64) error {
	_, err := d.exec(ctx, `UPDATE eventbus_dedup SET until = $1 WHERE scope = $2 AND event_id = $3 AND handled = 0 AND until = $4`,
		to, scope, id, from)
	return err
}

// Renew implements dedup.Store.
func (d *Dedup) Renew(ctx context.Context, scope, id string, token uint64, lease time.Duration) (bool, error) {
	n, err := d.exec(ctx, `UPDATE eventbus_dedup SET until = $1, lease = $2
		WHERE scope = $3 AND event_id = $4 AND token = $5 AND handled = 0`,
		d.now().Add(lease).UnixMilli(), lease.Milliseconds(), scope, id, text(token))
	return n == 1, err
}

// Confirm implements dedup.Store.
func (d *Dedup) Confirm(ctx context.Context, scope, id string, window time.Duration) error {
	_, err := d.exec(ctx, `INSERT INTO eventbus_dedup (scope, event_id, token, handled, until, lease) VALUES ($1, $2, '', 1, $3, 0)
		ON CONFLICT (scope, event_id) DO UPDATE SET token = '', handled = 1, until = excluded.until`,
		scope, id, d.now().Add(window).UnixMilli())
	if err == nil && d.confirmed.Add(1) >= int64(min(max(d.max/100, 1), 1000)) {
		return d.tidy(ctx)
	}
	return err
}

// Release implements dedup.Store.
func (d *Dedup) Release(ctx context.Context, scope, id string, token uint64) error {
	_, err := d.exec(ctx, `DELETE FROM eventbus_dedup WHERE scope = $1 AND event_id = $2 AND token = $3 AND handled = 0`,
		scope, id, text(token))
	return err
}

// tidy deletes what is over, and what is too much. Somebody who does that already is not waited for.
func (d *Dedup) tidy(ctx context.Context) error {
	if !d.tidying.TryLock() {
		return nil
	}
	defer d.tidying.Unlock()
	d.confirmed.Store(0)
	if _, err := d.exec(ctx, `DELETE FROM eventbus_dedup WHERE until <= $1`, d.now().UnixMilli()); err != nil {
		return err
	}
	n, err := d.exec(ctx, `DELETE FROM eventbus_dedup WHERE handled = 1 AND until <= (
		SELECT until FROM eventbus_dedup WHERE handled = 1 ORDER BY until DESC LIMIT 1 OFFSET $1)`, d.max)
	d.forgotten.Add(n)
	return err
}

// Forgotten is how many handled events this process has made room for others of, before their window was over.
func (d *Dedup) Forgotten() int64 { return d.forgotten.Load() }

// Close closes the database where the store has opened it.
func (d *Dedup) Close() error {
	if d.close == nil {
		return nil
	}
	return d.close()
}

func (d *Dedup) exec(ctx context.Context, stmt string, args ...any) (int64, error) {
	if err := d.table.ready(ctx, d.db); err != nil {
		return 0, err
	}
	r, err := d.db.ExecContext(ctx, stmt, args...)
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

func text(token uint64) string { return strconv.FormatUint(token, 16) }
