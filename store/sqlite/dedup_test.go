package sqlite

import (
	"database/sql"
	"path/filepath"
	"testing"
	"time"

	"github.com/eventbus-go/eventbus/store/dedup"
)

// Suppose the clock is set back by an hour: a process that has died would hold its event for an hour and a minute.
func TestALeaseEndsInTimeWhereTheClockIsSetBack(t *testing.T) {
	db, err := sql.Open("sqlite", filepath.Join(t.TempDir(), "handled.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	now := time.Now()
	d := NewDedup(db, 0)
	d.now = func() time.Time { return now }
	reserve := func(id string, token uint64, lease time.Duration, want dedup.State) {
		t.Helper()
		if got, err := d.Reserve(t.Context(), "s", id, token, lease); err != nil || got != want {
			t.Errorf("%s: %v, %v, want %v", id, got, err, want)
		}
	}
	reserve("dead", 1, time.Minute, dedup.Fresh)
	reserve("alive", 2, time.Minute, dedup.Fresh)
	reserve("long", 3, time.Minute, dedup.Fresh)
	if held, err := d.Renew(t.Context(), "s", "long", 3, time.Hour); err != nil || !held {
		t.Fatal(held, err)
	}
	reserve("long", 4, time.Second, dedup.Reserved)

	now = now.Add(-time.Hour)
	for _, id := range []string{"dead", "alive", "long"} {
		reserve(id, 5, time.Second, dedup.Reserved)
	}
	now = now.Add(59 * time.Second)
	reserve("dead", 6, time.Second, dedup.Reserved)
	if held, err := d.Renew(t.Context(), "s", "alive", 2, time.Minute); err != nil || !held {
		t.Error("a holder that is alive has lost its lease")
	}
	now = now.Add(time.Second)
	reserve("dead", 7, time.Second, dedup.Fresh)
	reserve("alive", 8, time.Second, dedup.Reserved)
	now = now.Add(58 * time.Minute)
	reserve("long", 9, time.Second, dedup.Reserved)
	now = now.Add(time.Minute)
	reserve("long", 10, time.Second, dedup.Fresh)
}
