package faults

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	_ "github.com/eventbus-go/eventbus/brokers/redis"
	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/internal/testbroker"
	"github.com/eventbus-go/eventbus/schema"
	"github.com/eventbus-go/eventbus/store/sqlite"
)

const (
	envTellerURL = "EVENTBUS_TEST_TELLER_URL"
	envTellerDB  = "EVENTBUS_TEST_TELLER_DB"
	payments     = 400
)

// TestTeller is the process that is killed: it adds each event to a balance, in the transaction that notes the event.
func TestTeller(t *testing.T) {
	url := os.Getenv(envTellerURL)
	if url == "" {
		t.Skip("only run by the test that kills it")
	}
	db := openBalance(t, os.Getenv(envTellerDB))
	b := open(t, bus.Config{URL: url})
	_, err := b.Subscribe(bus.Subscription{
		Name: "teller", Channels: []string{"x.all"}, Group: "g",
		Handler: func(ctx context.Context, e schema.Event) error { return pay(ctx, db, e.ID) },
	})
	if err := errors.Join(err, b.Start(t.Context())); err != nil {
		t.Fatal(err)
	}
	eventually(t, 2*patience, "everything is paid", func() bool { return notes(t, db) == payments })
}

func pay(ctx context.Context, db *sql.DB, id string) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	first, err := sqlite.Once(ctx, tx, "teller", id)
	if err != nil || !first {
		return err
	}
	if _, err := tx.ExecContext(ctx, `UPDATE balance SET cents = cents + 1`); err != nil {
		return err
	}
	return tx.Commit()
}

func openBalance(t *testing.T, path string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_txlock=immediate")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	for _, stmt := range []string{
		sqlite.CreateHandled, `CREATE TABLE IF NOT EXISTS balance (cents INTEGER)`,
		`INSERT INTO balance SELECT 0 WHERE NOT EXISTS (SELECT * FROM balance)`,
	} {
		if _, err := db.ExecContext(t.Context(), stmt); err != nil {
			t.Fatal(err)
		}
	}
	return db
}

func notes(t *testing.T, db *sql.DB) (n int) {
	t.Helper()
	if err := db.QueryRowContext(t.Context(), `SELECT count(*) FROM eventbus_handled`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// A process that is killed again and again in the middle of its work: each event has its effect, and has it once.
func TestTheEffectIsThereOnceHoweverOftenTheProcessIsKilled(t *testing.T) {
	redis := testbroker.RealRedis(t)
	url := strings.Replace(redis.URL(), "redis://", "redis+stream://", 1) + "?lease=2s"
	file := filepath.Join(t.TempDir(), "balance.db")
	db := openBalance(t, file)
	teller := func(ctx context.Context) *exec.Cmd {
		cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestTeller$", "-test.timeout=2m")
		cmd.Env = append(os.Environ(), envTellerURL+"="+url, envTellerDB+"="+file)
		return cmd
	}
	b := open(t, bus.Config{URL: url})
	_, err := b.Subscribe(bus.Subscription{ // makes the group, and handles nothing itself
		Name: "teller", Channels: []string{"x.other"}, Group: "other", Handler: func(context.Context, schema.Event) error { return nil },
	})
	if err := errors.Join(err, b.Start(t.Context())); err != nil {
		t.Fatal(err)
	}
	for i := range payments {
		e := about(fmt.Sprint("user:", i))
		e.ID = fmt.Sprint("payment-", i)
		if err := b.Publish(t.Context(), e, e); err != nil { // published twice, to be delivered twice
			t.Fatal(err)
		}
	}
	kills := 0
	for at := payments / 8; at < payments; at += payments / 4 {
		cmd := teller(t.Context())
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		eventually(t, patience, "some are paid", func() bool { return notes(t, db) >= at })
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		kills++
	}
	if out, err := teller(t.Context()).CombinedOutput(); err != nil {
		t.Fatalf("the last process: %v: %s", err, out)
	}
	var cents int
	if err := db.QueryRowContext(t.Context(), `SELECT cents FROM balance`).Scan(&cents); err != nil || cents != payments {
		t.Errorf("the balance is %d, want %d, %v", cents, payments, err)
	}
	figure(t, "kill -9 of a process that pays by store/sqlite.Once", "%d kills within %d events published twice: balance %d",
		kills, payments, cents)
}
