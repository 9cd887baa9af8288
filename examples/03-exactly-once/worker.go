package main

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/router"
	"github.com/eventbus-go/eventbus/schema"
	"github.com/eventbus-go/eventbus/store/sqlite"
)

var (
	bank = schema.NewCatalogue("bank")
	paid = schema.MustDefine(bank, schema.Definition[payment]{
		Type: "payment.received", Subject: func(p payment) string { return schema.Ref("account", p.Number%10) },
	})
	rules = bus.WithRules(router.Config{Rules: []router.Rule{{Match: []string{">"}, Channels: []string{"payments"}}}})
)

type payment struct {
	Number int64 `json:"number"`
	Cents  int64 `json:"cents"`
}

func publish(ctx context.Context, url string) error {
	b, err := bus.Open(ctx, url, rules)
	if err != nil {
		return err
	}
	defer b.Close(ctx)
	events := make([]schema.Event, payments)
	for i := range events {
		events[i] = paid.New(payment{Number: int64(i), Cents: 100})
	}
	return b.Publish(ctx, events...)
}

// work books payments until its process is killed.
func work(ctx context.Context, url, path string) error {
	books, err := openBooks(ctx, path)
	if err != nil {
		return err
	}
	defer books.Close()
	b, err := bus.Open(ctx, url, rules)
	if err != nil {
		return err
	}
	defer b.Close(ctx)
	_, err = b.Subscribe(bus.Subscription{
		Name: "bookkeeper", Group: "bookkeeping",
		Handlers: []bus.TypedHandler{bus.On(paid, func(ctx context.Context, e schema.Event, p payment) error {
			return book(ctx, books, e.ID, p)
		})},
	})
	if err != nil {
		return err
	}
	return b.Run(ctx)
}

// book is the effect: the booking, and the note that the event was handled, are in one transaction.
func book(ctx context.Context, books *sql.DB, eventID string, p payment) error {
	// For the story alone: what was delivered, whether it is booked or not.
	if _, err := books.ExecContext(ctx, `INSERT INTO delivery VALUES ($1)`, eventID); err != nil {
		return err
	}
	tx, err := books.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() // does nothing after a commit
	first, err := sqlite.Once(ctx, tx, "bookkeeper", eventID)
	if err != nil || !first {
		return err // nil where it was booked before
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO booking VALUES ($1, $2)`, p.Number, p.Cents); err != nil {
		return err
	}
	return tx.Commit()
}

func openBooks(ctx context.Context, path string) (*sql.DB, error) {
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_txlock=immediate")
	if err != nil {
		return nil, err
	}
	for _, stmt := range []string{
		sqlite.CreateHandled,
		`CREATE TABLE IF NOT EXISTS booking (payment INTEGER, cents INTEGER)`, // nothing but Once keeps a payment from being in it twice
		`CREATE TABLE IF NOT EXISTS delivery (event_id TEXT)`,
	} {
		if _, err := db.ExecContext(ctx, stmt); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	return db, nil
}
