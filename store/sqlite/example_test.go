package sqlite_test

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/eventbus-go/eventbus/store/sqlite"
)

// ExampleOnce is a handler whose effect is there once, however often its event is delivered: the note that the event was handled is
// in the transaction of the effect.
func ExampleOnce() {
	ctx := context.Background()
	db, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	for _, stmt := range []string{sqlite.CreateHandled, `CREATE TABLE balance (cents INTEGER)`, `INSERT INTO balance VALUES (0)`} {
		if _, err := db.ExecContext(ctx, stmt); err != nil {
			fmt.Println(err)
			return
		}
	}
	handle := func(ctx context.Context, eventID string) error {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer tx.Rollback() // does nothing after a commit
		first, err := sqlite.Once(ctx, tx, "billing", eventID)
		if err != nil || !first {
			return err
		}
		if _, err := tx.ExecContext(ctx, `UPDATE balance SET cents = cents + 100`); err != nil {
			return err
		}
		return tx.Commit()
	}
	for _, id := range []string{"e1", "e2", "e1"} { // e1 is delivered twice
		if err := handle(ctx, id); err != nil {
			fmt.Println(err)
		}
	}
	var cents int
	err = db.QueryRowContext(ctx, `SELECT cents FROM balance`).Scan(&cents)
	fmt.Println(cents, err)
	// Output: 200 <nil>
}
