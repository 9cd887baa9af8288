package faults

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	_ "github.com/eventbus-go/eventbus/brokers/kafka"
	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/internal/testbroker"
	"github.com/eventbus-go/eventbus/router"
	"github.com/eventbus-go/eventbus/schema"
)

// What a service finds that comes late: its channels and its group were created in a step of their own, what was published since
// waits for it, and the lag says how much.
func TestWhatWasEnsuredKeepsEventsForAGroupAndItsLagIsKnown(t *testing.T) {
	for scheme, start := range map[string]func(*testing.T) string{
		"redis+stream": func(t *testing.T) string {
			return strings.Replace(testbroker.RealRedis(t).URL(), "redis://", "redis+stream://", 1)
		},
		"nats+js": func(t *testing.T) string {
			return testbroker.RealNATS(t, testbroker.NATSOptions{JetStream: true}).JetURL()
		},
		"kafka": func(t *testing.T) string { return testbroker.StartKafka(t, testbroker.KafkaOptions{}).URL() },
	} {
		t.Run(scheme, func(t *testing.T) { comeLate(t, start(t)) })
	}
}

func comeLate(t *testing.T, url string) {
	const events = 100
	open := func() *world {
		t.Helper()
		w := &world{t: t, log: &logbook{}, ran: make(chan error, 1)}
		b, err := bus.OpenConfig(t.Context(), bus.Config{
			URL: url, Config: router.Config{Prefix: "late", Rules: []router.Rule{{Match: []string{">"}, Channels: []string{"a", "b"}}}},
			DeadLetters: bus.NoDeadLetters,
		}, bus.WithLogger(slog.New(w.log)))
		if err != nil {
			t.Fatal(err)
		}
		w.Bus = b
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			_ = b.Close(ctx)
		})
		w.subscribe(bus.Subscription{
			Name: "billing", Group: "billing", Channels: []string{"late.*"},
			Handler: func(context.Context, schema.Event) error { return nil },
		})
		return w
	}
	step := open()
	for range 2 { // the second one changes nothing
		if err := step.EnsureChannels(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for i := range events {
		if err := step.Emit(t.Context(), numbered(i)); err != nil {
			t.Fatal(err)
		}
	}
	step.quiet()
	if l := step.Stats().Published; l.Confirmed != 2*events {
		t.Fatalf("not all was confirmed: %+v", l)
	}
	if got := lagText(t, step.Bus); got != fmt.Sprintf("billing late.a %d, billing late.b %d", events, events) {
		t.Errorf("the lag is %q", got)
	}
	step.shut()

	late := open()
	late.run()
	eventually(t, patience, "the group has handled everything", func() bool {
		return late.Stats().Subscriptions["billing"].Handled == events
	})
	caught := eventually(t, patience, "the lag is gone", func() bool {
		time.Sleep(10 * time.Millisecond) // what is settled in batches is known a little later
		return lagText(t, late.Bus) == "billing late.a 0, billing late.b 0"
	})
	late.shut()
	figure(t, "lag of a late group, "+url[:strings.Index(url, ":")], "%d events on 2 channels waited, all were handled; the lag was "+
		"gone %v later", events, ms(caught))
}

// lagText is what a bus says of its groups' lags: waiting and pending together.
func lagText(t *testing.T, b *bus.Bus) string {
	t.Helper()
	lags, err := b.Lag(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var parts []string
	for _, l := range lags {
		parts = append(parts, fmt.Sprint(l.Group, " ", l.Channel, " ", max(l.Waiting, 0)+max(l.Pending, 0)))
	}
	return strings.Join(parts, ", ")
}
