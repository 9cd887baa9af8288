package sqlite

import (
	"context"
	"database/sql"
)

// CreateHandled is the statement that makes the table of [Once], for the migrations of a service that has them.
const CreateHandled = `CREATE TABLE IF NOT EXISTS eventbus_handled (
	subscription TEXT NOT NULL, event_id TEXT NOT NULL, handled_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
	PRIMARY KEY (subscription, event_id))`

// Once notes in tx, the transaction in which a handler writes what it does, that a subscription has handled an event, and reports
// whether it is the first to do so. Where it is not, the handler has nothing to do and returns nil. Since the note is committed with
// the effect or not at all, the effect of an event is there exactly once, however often the event is delivered and wherever the
// process is killed. It needs the table of CreateHandled, in the database of the effect.
//
// The notes are kept until they are deleted: a service deletes those whose handled_at is older than the longest time after which its
// broker may still deliver an event again, such as DELETE FROM eventbus_handled WHERE handled_at < datetime('now', '-30 days').
func Once(ctx context.Context, tx *sql.Tx, subscription, eventID string) (first bool, err error) {
	r, err := tx.ExecContext(ctx,
		`INSERT INTO eventbus_handled (subscription, event_id) VALUES ($1, $2) ON CONFLICT DO NOTHING`, subscription, eventID)
	if err != nil {
		return false, err
	}
	n, err := r.RowsAffected()
	return n == 1, err
}
