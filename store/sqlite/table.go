package sqlite

import (
	"context"
	"database/sql"
)

// A table is made by its first use.
type table struct {
	create []string
	made   chan bool // has one element: whether it is there
}

func newTable(create ...string) table {
	t := table{create: create, made: make(chan bool, 1)}
	t.made <- false
	return t
}

// ready creates the table where that has not been done.
func (t *table) ready(ctx context.Context, db *sql.DB) (err error) {
	var made bool
	select {
	case made = <-t.made:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { t.made <- made || err == nil }()
	if made {
		return nil
	}
	for _, stmt := range t.create {
		if _, err := db.ExecContext(ctx, stmt); err != nil {
			return err
		}
	}
	return nil
}
