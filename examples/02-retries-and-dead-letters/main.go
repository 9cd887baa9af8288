// Program 02-retries-and-dead-letters shows what becomes of events whose handler fails: they are tried again by a schedule, those
// that still fail are kept as dead letters, and when the cause is mended they are sent again, to the one subscription that failed.
//
//	go run ./examples/02-retries-and-dead-letters
//
// It needs nothing installed. With EVENTBUS_URL=redis://localhost:6379 it does the same over Redis, and keeps the letters there.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"

	_ "github.com/eventbus-go/eventbus/brokers/memory"
	_ "github.com/eventbus-go/eventbus/brokers/redis"
	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/schema"
	"github.com/eventbus-go/eventbus/store/deadletter"
)

var (
	errAddress = errors.New("address unknown")
	shop       = schema.NewCatalogue("shop")
	placed     = schema.MustDefine(shop, schema.Definition[order]{
		Type: "user.placed_order", Subject: func(o order) string { return schema.Ref("user", o.User) },
	})
)

type order struct {
	User int64 `json:"user"`
}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := run(ctx, os.Stdout, cmp.Or(os.Getenv(bus.EnvURL), "memory://")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// config is what would stand in eventbus.yaml.
const config = `
subscriptions:
  mailer:
    retry: 3 times, 1ms to 10ms, jitter
    errors: { unknown address: never }
`

func run(ctx context.Context, out io.Writer, url string) error {
	cfg, err := bus.ParseConfig([]byte(config))
	if err != nil {
		return err
	}
	cfg.URL = url
	b, err := bus.OpenConfig(ctx, cfg, bus.WithError("unknown address", func(err error) bool { return errors.Is(err, errAddress) }))
	if err != nil {
		return err
	}
	defer b.Close(ctx)
	var mailServer, addressBook atomic.Bool // whether they work
	mailer, err := b.Subscribe(bus.Subscription{
		Name: "mailer",
		Handlers: []bus.TypedHandler{bus.On(placed, func(ctx context.Context, e schema.Event, o order) error {
			switch {
			case o.User == 3 && !addressBook.Load():
				return fmt.Errorf("user %d: %w", o.User, errAddress)
			case !mailServer.Load():
				return fmt.Errorf("mail server: connection refused, request %d", o.User)
			}
			fmt.Fprintln(out, "  mailed", e.Subject)
			return nil
		})},
	})
	if err != nil {
		return err
	}
	if err := b.Start(ctx); err != nil {
		return err
	}

	fmt.Fprintln(out, "five orders, and the mail server is down:")
	for user := range int64(5) {
		if err := b.Emit(ctx, placed.New(order{User: user + 1})); err != nil {
			return err
		}
	}
	if err := until(ctx, func() bool { return mailer.Stats().DeadLettered == 5 }); err != nil {
		return err
	}
	groups, err := deadletter.Groups(ctx, b.DeadLetters(), deadletter.Query{})
	if err != nil {
		return err
	}
	for _, g := range groups {
		fmt.Fprintf(out, "  %d dead letters of cause %s, each after %d attempts\n", g.Count, g.Fingerprint, g.Example.Attempts)
	}

	fmt.Fprintln(out, "the mail server is up again; its letters are sent to the mailer, and to nobody else:")
	mailServer.Store(true)
	r, err := deadletter.Redrive(ctx, b.DeadLetters(), b.ToSubscription, deadletter.RedriveOptions{
		Query: deadletter.Query{Fingerprints: []string{groups[0].Fingerprint}}, Batch: 1,
	})
	if err != nil {
		return err
	}
	left, err := b.DeadLetters().Stats(ctx)
	fmt.Fprintf(out, "%d sent, %d left\n", r.Sent, left.Depth)
	return err
}

// until waits for a condition. A service has no need of it: it looks at its metrics.
func until(ctx context.Context, ok func() bool) error {
	t := time.NewTicker(time.Millisecond)
	defer t.Stop()
	for !ok() {
		select {
		case <-t.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
