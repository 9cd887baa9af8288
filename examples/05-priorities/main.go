// Program 05-priorities shows in which order a subscription hands out what waits, a pause, and a handler that takes many events at
// once. While the shop's subscription is paused, orders of all priorities pile up; when it is resumed, the urgent ones go first, and
// the least urgent one that has waited for longest still has its turn. A second subscription writes the same orders in batches.
//
//	go run ./examples/05-priorities
//
// It needs nothing installed. EVENTBUS_URL chooses another broker.
package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	_ "github.com/eventbus-go/eventbus/brokers/all"
	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/router"
	"github.com/eventbus-go/eventbus/schema"
)

type order struct {
	Number int64 `json:"number"`
}

var (
	shop   = schema.NewCatalogue("shop")
	placed = schema.MustDefine(shop, schema.Definition[order]{
		Type: "order.placed", Subject: func(o order) string { return schema.Ref("order", o.Number) },
	})
	rules = bus.WithRules(router.Config{Rules: []router.Rule{{Match: []string{">"}, Channels: []string{"orders"}}}})
)

const orders = 80

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := run(ctx, os.Stdout, cmp.Or(os.Getenv(bus.EnvURL), "memory://")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer, url string) error {
	b, err := bus.Open(ctx, url, rules)
	if err != nil {
		return err
	}
	defer b.Close(ctx)
	var handed, written list
	shipping, err := b.Subscribe(bus.Subscription{
		Name: "shipping", Channels: []string{"orders"}, Paused: true, Concurrency: 1, // one after the other, so that the order shows
		Handler: func(_ context.Context, e schema.Event) error { handed.add(e.Priority.String()); return nil },
	})
	if err != nil {
		return err
	}
	ledger, err := b.Subscribe(bus.Subscription{
		Name: "ledger", Channels: []string{"orders"}, Batch: bus.BatchConfig{MaxEvents: 10, MaxWait: 20 * time.Millisecond},
		BatchHandler: func(_ context.Context, events []schema.Event) []error {
			written.add(fmt.Sprint(len(events)))
			return nil // all of them are written
		},
	})
	if err != nil {
		return err
	}
	if err := b.Start(ctx); err != nil {
		return err
	}
	if err := b.Publish(ctx, everyPriority()...); err != nil {
		return err
	}
	held := func() bool { return shipping.Stats().InFlight == orders && ledger.Stats().Handled == orders }
	if err := until(ctx, held); err != nil {
		return err
	}
	fmt.Fprintf(out, "%d orders wait, a quarter of each priority, while shipping is paused; the ledger has them by %s\n",
		orders, written.runs())
	shipping.Resume()
	if err := until(ctx, func() bool { return shipping.Stats().Handled == orders }); err != nil {
		return err
	}
	fmt.Fprintf(out, "resumed, they are shipped: %s\n", handed.runs())
	return nil
}

// everyPriority returns orders whose priorities take turns, the least urgent first.
func everyPriority() []schema.Event {
	events := make([]schema.Event, orders)
	for i := range events {
		events[i] = placed.New(order{Number: int64(i)})
		events[i].Priority = schema.Low + schema.Priority(i%4)
	}
	return events
}

// A list is what handlers have noted.
type list struct {
	mu    sync.Mutex
	items []string
}

func (l *list) add(s string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.items = append(l.items, s)
}

// runs shows what was noted, with a count for what came several times in a row.
func (l *list) runs() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []string
	for i, n := 0, 0; i < len(l.items); i += n {
		for n = 1; i+n < len(l.items) && l.items[i+n] == l.items[i]; n++ {
		}
		out = append(out, fmt.Sprintf("%d x %s", n, l.items[i]))
	}
	return strings.Join(out, ", ")
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
