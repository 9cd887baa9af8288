package bus_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/router/middleware"
	"github.com/eventbus-go/eventbus/schema"
)

func TestCloseLetsHandlersFinishWhatWasReceivedAndPublishToTheLast(t *testing.T) {
	w := newWorld(t)
	const events = 200
	release := make(chan struct{})
	var derived atomic.Int64
	first := w.subscribe(bus.Subscription{
		Name: "first", Channels: []string{"x.a"}, Concurrency: 3,
		Handler: func(ctx context.Context, e schema.Event) error {
			<-release
			if ctx.Err() != nil {
				t.Error("the handler's context ended in a shutdown that had time left")
			}
			derived.Add(1)
			return w.Publish(ctx, event("b.c", e.Subject))
		},
	})
	w.run()
	for i := range events {
		w.emit(event("a.b", fmt.Sprint("user:", i)))
	}
	w.until("everything received", func() bool { return first.Stats().Received == events })
	closed := make(chan struct{})
	go func() { w.close(); close(closed) }()
	w.until("the bus is closing", func() bool { return w.Check(t.Context()).Stopping })
	close(release)
	<-closed
	if st := first.Stats(); st.Handled != events || derived.Load() != events {
		t.Errorf("%d handled, %d published from handlers, want %d each", st.Handled, derived.Load(), events)
	}
	if led := w.Stats().Published; led.Confirmed != 4*events {
		t.Errorf("the ledger says %+v, want %d confirmed", led, 4*events)
	}
	if err := w.Emit(t.Context(), event("a.b", "late")); !errors.Is(err, bus.ErrClosed) {
		t.Errorf("Emit after Close returned %v, want ErrClosed", err)
	}
}

func TestCloseReturnsByItsDeadlineAndNamesTheHandlerThatDoesNot(t *testing.T) {
	w := newWorld(t)
	stuck, entered := make(chan struct{}), make(chan struct{})
	defer close(stuck)
	w.subscribe(bus.Subscription{
		Name: "stuck one", Channels: []string{"x.a"},
		Handler: func(ctx context.Context, e schema.Event) error { close(entered); <-stuck; return nil },
	})
	other := w.subscribe(bus.Subscription{
		Name: "other", Channels: []string{"x.a"}, Handler: func(ctx context.Context, e schema.Event) error { return nil },
	})
	w.run()
	w.emit(event("a.b", "user:1"))
	<-entered
	w.until("the other one has handled it", func() bool { return other.Stats().Handled == 1 })
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	start := time.Now()
	err := w.Close(ctx)
	if took := time.Since(start); took > patience/2 {
		t.Errorf("Close with a deadline of 200ms took %v", took)
	}
	var ce *bus.CloseError
	if !errors.As(err, &ce) || len(ce.Handlers) != 1 || ce.Handlers[0].Subscription != "stuck one" ||
		ce.Handlers[0].EventID == "" || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Close returned %v, want an error that names the handler", err)
	}
	w.balanced()
}

func TestCloseNamesTheHandlerAlsoWhereItsDeadlineHasPassed(t *testing.T) {
	var closing sync.WaitGroup
	for range 20 {
		w := newWorld(t)
		stuck, entered := make(chan struct{}), make(chan struct{})
		defer close(stuck)
		w.subscribe(bus.Subscription{
			Name: "stuck one", Channels: []string{"x.a"},
			Handler: func(ctx context.Context, e schema.Event) error { close(entered); <-stuck; return nil },
		})
		w.run()
		w.emit(event("a.b", "user:1"))
		<-entered
		closing.Go(func() {
			var ce *bus.CloseError
			if err := w.Close(ended()); !errors.As(err, &ce) || len(ce.Handlers) != 1 || ce.Handlers[0].Subscription != "stuck one" {
				t.Errorf("Close returned %v, want an error that names the handler", err)
			}
		})
	}
	closing.Wait()
}

func TestAHandlerThatObeysItsContextIsInterruptedWhenTheDeadlinePasses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		entered := make(chan struct{}, 100)
		sub := w.subscribe(bus.Subscription{
			Name: "s", Channels: []string{"x.a"}, Concurrency: 1, Group: "g",
			Handler: func(ctx context.Context, e schema.Event) error {
				entered <- struct{}{}
				<-ctx.Done()
				return ctx.Err()
			},
		})
		w.run()
		for i := range 10 {
			w.emit(event("a.b", fmt.Sprint("user:", i)))
		}
		<-entered
		w.until("everything received", func() bool { return sub.Stats().Received == 10 })
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		w.Close(ctx)
		w.balanced()
		if st := sub.Stats(); st.Redelivered != 10 || st.Failed != 0 || len(entered) != 0 {
			t.Errorf("a shutdown gives back what was not handled: %+v, %d more handlers began", st, len(entered))
		}
	})
}

func TestAWaitingRetryDoesNotHoldUpAShutdown(t *testing.T) {
	w := newWorld(t)
	failed := make(chan struct{}, 10)
	sub := w.subscribe(bus.Subscription{
		Name: "s", Channels: []string{"x.a"},
		Retry:   middleware.Policy{Attempts: 2, Backoff: middleware.Backoff{Min: time.Hour, Max: time.Hour}, MaxWait: time.Hour},
		Handler: func(context.Context, schema.Event) error { failed <- struct{}{}; return bus.RetryAfter(nil, time.Hour) },
	})
	w.run()
	w.emit(event("a.b", "user:1"))
	<-failed
	start := time.Now()
	w.close()
	if took := time.Since(start); took > patience/2 {
		t.Errorf("Close took %v", took)
	}
	if st := sub.Stats(); st.Redelivered+total(st.Dropped) != 1 || st.Failed != 0 {
		t.Errorf("an interrupted event is not a failed one: %+v", st)
	}
}
