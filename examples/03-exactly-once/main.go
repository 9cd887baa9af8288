// Program 03-exactly-once shows an effect that is there exactly once although its process is killed again and again. A worker books
// payments into a database, and is ended with SIGKILL in the middle of its work, three times. A broker that stores events delivers
// again what was not acknowledged, so that some payments arrive twice; their booking and the note that they were handled are one
// transaction, so that none is booked twice and none is missing.
//
//	go run ./examples/03-exactly-once
//
// It needs nothing installed: it starts a broker in its own process, and the workers as further processes of the same program. With
// EVENTBUS_URL=redis+stream://localhost:6379 it does the same on that server.
package main

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/alicebob/miniredis/v2"

	_ "github.com/eventbus-go/eventbus/brokers/redis"
	"github.com/eventbus-go/eventbus/bus"
)

const (
	payments = 300
	kills    = 3
)

func main() {
	worker := flag.String("worker", "", "be the worker that books into this database")
	flag.Parse()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	var err error
	if *worker != "" {
		err = work(ctx, os.Getenv(bus.EnvURL), *worker)
	} else {
		err = run(ctx, os.Stdout, os.Getenv(bus.EnvURL))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// run publishes the payments, kills workers, and looks at the books.
func run(ctx context.Context, out io.Writer, url string) error {
	if url == "" {
		server := miniredis.NewMiniRedis()
		if err := server.StartAddr("127.0.0.1:0"); err != nil {
			return err
		}
		defer server.Close()
		url = "redis+stream://" + server.Addr()
	}
	dir, err := os.MkdirTemp("", "exactly-once")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	books, err := openBooks(ctx, filepath.Join(dir, "books.db"))
	if err != nil {
		return err
	}
	defer books.Close()
	if err := publish(ctx, url); err != nil {
		return err
	}
	fmt.Fprintf(out, "%d payments of 1.00 are published\n", payments)
	for i := range kills {
		if err := untilKilled(ctx, url, dir, books, (i+1)*payments/(kills+2)); err != nil {
			return err
		}
		fmt.Fprintf(out, "the worker is killed in the middle of its work\n")
	}
	if err := untilKilled(ctx, url, dir, books, payments); err != nil {
		return err
	}
	return report(ctx, out, books)
}

// untilKilled runs a worker until so many payments are booked, and kills it at once.
func untilKilled(ctx context.Context, url, dir string, books *sql.DB, booked int) error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, program, "-worker", filepath.Join(dir, "books.db"))
	and := "?"
	if strings.Contains(url, "?") {
		and = "&"
	}
	cmd.Env = append(os.Environ(), bus.EnvURL+"="+url+and+"consumer=bookkeeper") // it comes back by the same name
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return err
	}
	err = until(ctx, func() (bool, error) {
		n, err := count(ctx, books, "SELECT count(*) FROM booking")
		return n >= booked, err
	})
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	return err
}

// report prints what is in the books, and fails where they are wrong.
func report(ctx context.Context, out io.Writer, books *sql.DB) error {
	deliveries, err1 := count(ctx, books, "SELECT count(*) FROM delivery")
	booked, err2 := count(ctx, books, "SELECT count(DISTINCT payment) FROM booking")
	cents, err3 := count(ctx, books, "SELECT sum(cents) FROM booking")
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	fmt.Fprintf(out, "%d deliveries, %d of them again\n", deliveries, deliveries-payments)
	fmt.Fprintf(out, "%d payments are booked, %d.%02d in all\n", booked, cents/100, cents%100)
	if booked != payments || cents != payments*100 {
		return errors.New("the books are wrong")
	}
	return nil
}

func count(ctx context.Context, db *sql.DB, query string) (n int, err error) {
	err = db.QueryRowContext(ctx, query).Scan(&n)
	return n, err
}

// until waits for a condition.
func until(ctx context.Context, ok func() (bool, error)) error {
	t := time.NewTicker(time.Millisecond)
	defer t.Stop()
	for {
		if done, err := ok(); done || err != nil {
			return err
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
