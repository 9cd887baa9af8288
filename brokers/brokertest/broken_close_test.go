package brokertest

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/brokers/memory"
)

// onClose puts f in Close's place.
func onClose(f func(ctx context.Context, next closeFunc) error) breaker {
	return each(func(w *wrapped) { w.close = f })
}

// closeHangs lets the first Close return when the case has ended; the others are the case's clean-up.
func closeHangs(e *env) func(*wrapped) {
	var called atomic.Bool
	return func(w *wrapped) {
		w.close = func(ctx context.Context, next closeFunc) error {
			if !called.Swap(true) {
				e.stuck()
			}
			return next(ctx)
		}
	}
}

const (
	caseClosed  = "after Close, Publish marks every message NotSent with ErrClosed, and Subscribe returns ErrClosed"
	caseLeak    = "no goroutine is left after Close"
	casePrompt  = "Close is prompt where nothing is left to settle, and Subscribe returns nil"
	caseBlocked = "Close returns by its deadline although a sink blocks"
)

var closeBreaches = []breach{
	{"returns an error from the second Close", plain, "a second Close does nothing", func(*env) func(*wrapped) {
		return func(w *wrapped) {
			var closed atomic.Bool
			w.close = func(ctx context.Context, next closeFunc) error {
				if closed.Swap(true) {
					return brokers.ErrClosed
				}
				return next(ctx)
			}
		}
	}},
	{"takes messages after Close", plain, caseClosed, onPublish(takesAfterClose)},
	{"says after Close that messages may have been sent", plain, caseClosed,
		onPublish(func(ctx context.Context, msgs []brokers.Message, next publishFunc) error {
			if err := next(ctx, msgs); errors.Is(err, brokers.ErrClosed) {
				return brokers.FailAll(len(msgs), brokers.Unknown, brokers.ErrClosed)
			}
			return nil
		})},
	{"has an error of its own for a closed connection", plain, caseClosed,
		onSubscribe(func(ctx context.Context, s brokers.Subscription, sink brokers.Sink, next subscribeFunc) error {
			if err := next(ctx, s, sink); err != nil {
				return errors.New("broken pipe")
			}
			return nil
		})},
	{"is slow to close", plain, casePrompt, closeHangs},
	{"returns ErrClosed from a subscription that Close ended", plain, casePrompt,
		onSubscribe(func(ctx context.Context, s brokers.Subscription, sink brokers.Sink, next subscribeFunc) error {
			return errors.Join(next(ctx, s, sink), brokers.ErrClosed)
		})},
	{"does not wait for handlers in Close", plain, "Close waits for what is being handled",
		onClose(func(ctx context.Context, next closeFunc) error {
			ctx, cancel := context.WithCancel(ctx)
			cancel()
			return next(ctx)
		})},
	{"hangs in Close while a handler does not settle", plain,
		"Close returns by its deadline although a handler never settles",
		closeHangs},
	{"hangs in Close while a sink blocks", plain, caseBlocked, closeHangs},
	{"closes all connections at once", plain,
		"Close of one connection leaves another alone", func(e *env) func(*wrapped) {
			var mu sync.Mutex
			var all []brokers.Conn
			return func(w *wrapped) {
				mu.Lock()
				defer mu.Unlock()
				all = append(all, w.Conn)
				w.close = func(ctx context.Context, _ closeFunc) error {
					mu.Lock()
					defer mu.Unlock()
					for _, c := range all {
						_ = c.Close(ctx)
					}
					return nil
				}
			}
		}},
	{"says that it took what came during Close", plain,
		"Publish, Subscribe and Close at the same time", onPublish(takesAfterClose)},
	{"waits for messages on what is no channel", plain,
		"a subscription to a name that is no channel is refused before the broker sees it", func(*env) func(*wrapped) {
			return func(w *wrapped) {
				w.subscribe = func(ctx context.Context, s brokers.Subscription, sink brokers.Sink, next subscribeFunc) error {
					if _, err := brokers.ParsePattern(s.Channels[0]); err != nil {
						return nil // as after its end, and not as what never can be
					}
					return next(ctx, s, sink)
				}
			}
		}},
	{"leaks a goroutine", plain, caseLeak, func(e *env) func(*wrapped) {
		end := make(chan struct{})
		e.t.Cleanup(func() { close(end) })
		return func(*wrapped) { go func() { <-end }() }
	}},
	{"leaves a subscription behind", plain, caseLeak, func(e *env) func(*wrapped) {
		other := memory.New()
		e.t.Cleanup(func() { _ = other.Close(context.Background()) })
		return func(w *wrapped) {
			w.subscribe = func(ctx context.Context, s brokers.Subscription, sink brokers.Sink, next subscribeFunc) error {
				go func() { _ = other.Subscribe(e.t.Context(), s, &tap{Sink: sink, ready: func(func()) {}}) }()
				return next(ctx, s, sink)
			}
		}
	}},
}

func takesAfterClose(ctx context.Context, msgs []brokers.Message, next publishFunc) error {
	if err := next(ctx, msgs); !errors.Is(err, brokers.ErrClosed) {
		return err
	}
	return nil
}
