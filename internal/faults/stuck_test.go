package faults

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	_ "github.com/eventbus-go/eventbus/brokers/memory"
	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/schema"
)

// A third of the handlers ignore their context for ever. They are given up, and as many as before run at once. So the others go on as
// fast as before: the times of a round with and without them are taken in turns, and their medians compared in full size; those of a run
// beside others are the machine's.
func TestHandlersThatIgnoreTheirContextForEverLeaveTheOthersTheirThroughput(t *testing.T) {
	const workers, hanging, takes = 12, 4, 2 * time.Millisecond
	events, rounds := full(3000, 600), full(5, 3)
	release, all := make(chan struct{}), make(chan struct{})
	defer close(release)
	var met atomic.Int64
	handle := func(_ context.Context, e schema.Event) error {
		switch kind, _, _ := strings.Cut(e.Subject, ":"); kind {
		case "hangs":
			<-release
		case "meets":
			if met.Add(1) == workers {
				close(all)
			}
			<-all
		}
		time.Sleep(takes)
		return nil
	}
	begin := func(name string, s bus.StuckPolicy) (*bus.Bus, *bus.Sub) {
		b, err := bus.OpenConfig(t.Context(), bus.Config{URL: "memory://" + name, Config: toAll})
		if err != nil {
			t.Fatal(err)
		}
		sub, err := b.Subscribe(bus.Subscription{
			Name: "s", Channels: []string{"x.all"}, Concurrency: workers, Timeout: time.Second, Stuck: s, Handler: handle,
		})
		if err := errors.Join(err, b.Start(t.Context())); err != nil {
			t.Fatal(err)
		}
		return b, sub
	}
	clean, cleanSub := begin(t.Name()+"-clean", bus.StuckPolicy{After: bus.NeverStuck})
	beside, sub := begin(t.Name()+"-beside", bus.StuckPolicy{After: 2 * time.Second})
	for i := range hanging {
		emitAll(t, beside, about(fmt.Sprint("hangs:", i)))
	}
	eventually(t, patience, "the handlers are given up", func() bool { return sub.Stats().Failed == hanging })
	for i := range workers {
		emitAll(t, beside, about(fmt.Sprint("meets:", i)))
	}
	eventually(t, patience, "as many as before run at once", func() bool { return sub.Stats().Handled == workers })
	round := func(b *bus.Bus, sub *bus.Sub) time.Duration {
		began, before := time.Now(), sub.Stats().Handled
		for i := range events {
			emitAll(t, b, about(fmt.Sprint("user:", i)))
		}
		eventually(t, patience, "the round is handled", func() bool { return sub.Stats().Handled == before+int64(events) })
		return time.Since(began)
	}
	var without, with []time.Duration
	for range rounds {
		without = append(without, round(clean, cleanSub))
		with = append(with, round(beside, sub))
	}
	kept := float64(percentile(without, 50)) / float64(percentile(with, 50))
	st := sub.Stats()
	if inFull && kept < 0.95 || st.Stuck != hanging || st.DeadLettered != hanging || st.Late != 0 {
		t.Errorf("the others keep %.2f of their throughput: %v and %v; %+v", kept, without, with, st)
	}
	endWithin(t, clean, nil)
	named := endWithin(t, beside, bus.ErrStuck)
	if len(named) != hanging || slices.ContainsFunc(named, func(h bus.HandlerLeft) bool { return !h.Stuck || h.Subscription != "s" }) {
		t.Errorf("Close names %v", named)
	}
	figure(t, "handlers that ignore their context for ever", "%d of %d, given up after 3s: the others keep %.1f %% of their throughput "+
		"(%d events in %v, without them %v, medians of %d rounds); %d dead-lettered as stuck, %d named by Close", hanging, workers,
		100*kept, events, ms(percentile(with, 50)), ms(percentile(without, 50)), rounds, st.DeadLettered, len(named))
}

// endWithin closes a bus, which is to return what errors.Is finds want in, and returns the handlers that it names.
func endWithin(t *testing.T, b *bus.Bus, want error) []bus.HandlerLeft {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	err := b.Close(ctx)
	left := new(bus.CloseError)
	if !errors.Is(err, want) || err != nil && !errors.As(err, &left) {
		t.Errorf("Close returned %v, want %v", err, want)
	}
	return left.Handlers
}
