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
	"sync/atomic"
	"testing"
	"time"

	_ "github.com/eventbus-go/eventbus/brokers/redis"
	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/internal/testbroker"
	"github.com/eventbus-go/eventbus/router/middleware"
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

// The server by which handled events are recognised is away, gone or frozen, while events arrive from another one: none is skipped. By
// policy they wait for it, or are handled and counted. Each was published twice.
func TestNoEventIsSkippedWhileTheDedupServerIsAway(t *testing.T) {
	for _, f := range []fault{killed, frozen} {
		for when, policy := range map[string]bus.DedupPolicy{
			"wait": {}, "handle": {WhenDown: middleware.DedupHandle},
		} {
			t.Run(f.name+" "+when, func(t *testing.T) { dedupAway(t, f, policy) })
		}
	}
}

func dedupAway(t *testing.T, f fault, policy bus.DedupPolicy) {
	const events = 300
	broker, keeper := testbroker.RealRedis(t), testbroker.RealRedis(t)
	url := strings.Replace(broker.URL(), "redis://", "redis+stream://", 1)
	b := open(t, bus.Config{URL: url, Dedup: keeper.URL()})
	policy.Window = time.Hour
	times := newJournal()
	var other atomic.Int64
	sub, err := b.Subscribe(bus.Subscription{
		Name: "s", Channels: []string{"x.all"}, Group: "s", Dedup: policy, Handler: times.handle, Retry: bus.RetryPolicy{Attempts: 1},
	})
	_, otherErr := b.Subscribe(bus.Subscription{
		Name: "other", Channels: []string{"x.all"}, Group: "other", Handler: func(context.Context, schema.Event) error { other.Add(1); return nil },
	})
	if err := errors.Join(err, otherErr, b.Start(t.Context())); err != nil {
		t.Fatal(err)
	}
	emit := func(from, to int) {
		for i := from; i < to; i++ {
			e := numbered(i)
			emitAll(t, b, e, e)
		}
	}
	emit(0, events)
	eventually(t, patience, "the first are done with", func() bool { return sub.Stats().Handled == events && sub.Stats().Duplicate == events })
	if err := f.begin(t, keeper); err != nil {
		t.Fatal(err)
	}
	emit(events, 2*events)
	eventually(t, patience, "the other subscription has them", func() bool { return other.Load() == 4*events })
	waits := policy.WhenDown == middleware.DedupWait
	begin := time.Now()
	if waits {
		eventually(t, patience, "the failure is counted", func() bool { return sub.Stats().DedupErrors > 0 })
		if n := times.len(); n != events {
			t.Errorf("%d events were handled while the server was away, want none of the second half", n-events)
		}
	} else {
		eventually(t, patience, "all are handled without it", func() bool { return sub.Stats().Handled == 3*events })
	}
	without, before := time.Since(begin), sub.Stats().Handled-events
	if err := f.end(t, keeper); err != nil {
		t.Fatal(err)
	}
	took := eventually(t, patience, "all are done with", func() bool {
		st := sub.Stats()
		return times.len() == 2*events && st.InFlight == 0 && st.Handled+st.Duplicate == 4*events
	})
	st := sub.Stats()
	if st.Failed+st.DeadLettered != 0 || st.DedupErrors == 0 || !waits && st.DedupErrors < 2*events {
		t.Errorf("the books say %+v", st)
	}
	times.mu.Lock()
	defer times.mu.Unlock()
	for id, n := range times.times {
		if i := number(id); n != 1 && (waits || i < events) {
			t.Errorf("event %d was handled %d times", i, n)
		}
	}
	figure(t, "dedup's redis-server "+f.name+", policy "+map[bool]string{true: "wait", false: "handle"}[waits],
		"%d events published twice while it was away: skipped 0, handled %d within %v without it, all done %v after its return; %d errors "+
			"counted", events, before, ms(without), ms(took), st.DedupErrors)
}

func (j *journal) len() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.times)
}
