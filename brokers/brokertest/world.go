package brokertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
)

// A world is what one case works with: connections to the broker, and what has to be undone afterwards. It is used by
// the case's goroutine only.
type world struct {
	T
	h    Harness
	caps brokers.Capabilities
	ctx  context.Context
	undo []func()
	// ids numbers the messages of the case.
	ids int
}

func newWorld(t T, h Harness) *world {
	ctx, cancel := context.WithCancel(t.Context())
	return &world{T: t, h: h, ctx: ctx, undo: []func(){cancel}}
}

func (w *world) cleanUp() {
	for _, f := range slices.Backward(w.undo) {
		f()
	}
}

// within returns a context of d, ended by the case's end at the latest.
func (w *world) within(d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(w.ctx, d)
	w.undo = append(w.undo, cancel)
	return ctx
}

// open returns a connection that is closed when the case ends.
func (w *world) open() brokers.Conn {
	w.Helper()
	conn, err := w.h.Open(w.within(w.h.Patience))
	if err != nil {
		w.Fatalf("Open: %v", err)
	}
	w.undo = append(w.undo, func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(w.ctx), min(time.Second, w.h.Patience))
		defer cancel()
		_ = conn.Close(ctx) // the cases of close.go judge Close
	})
	return conn
}

// channels returns n unused channel names.
func (w *world) channels(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = w.h.Channel()
	}
	return out
}

// message returns a message that differs from all others of the case.
func (w *world) message(channel, key string) brokers.Message {
	w.ids++
	id := fmt.Sprintf("id-%06d", w.ids)
	return brokers.Message{
		ID: id, Type: "brokertest.happened", Channel: channel, Key: key, Priority: 1,
		Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Body: []byte(`{"event_id":"` + id + `","key":"` + key + `"}`),
	}
}

// messages returns n messages with keys taken in turn; without keys, each has its own.
func (w *world) messages(n int, channel string, keys ...string) []brokers.Message {
	out := make([]brokers.Message, n)
	for i := range out {
		key := fmt.Sprintf("key-%d", i)
		if len(keys) > 0 {
			key = keys[i%len(keys)]
		}
		out[i] = w.message(channel, key)
	}
	return out
}

// publish publishes msgs as one batch, all of which the broker has to take.
func (w *world) publish(conn brokers.Conn, msgs ...brokers.Message) {
	w.Helper()
	if err := conn.Publish(w.within(w.h.Patience), msgs); err != nil {
		w.Fatalf("Publish of %d messages on a healthy broker: %v", len(msgs), err)
	}
}

// outcomes returns the outcome of each message of a batch, and fails where err is not one that Publish may return.
func (w *world) outcomes(n int, err error) []brokers.Outcome {
	w.Helper()
	out := make([]brokers.Outcome, n)
	if err == nil {
		return out
	}
	var be *brokers.BatchError
	if !errors.As(err, &be) {
		w.Fatalf("Publish returned a %T (%v); it has to be a *brokers.BatchError", err, err)
	}
	if len(be.Failed) == 0 {
		w.Errorf("Publish returned a *BatchError that marks no message")
	}
	last := -1
	for _, f := range be.Failed {
		switch {
		case f.Index <= last || f.Index >= n:
			w.Fatalf("a *BatchError for %d messages marks %d after %d: not in ascending order", n, f.Index, last)
		case f.Outcome == brokers.Confirmed || f.Outcome > brokers.Unknown:
			w.Errorf("message %d is listed as failed with the outcome %v", f.Index, f.Outcome)
		case f.Err == nil:
			w.Errorf("message %d is listed as failed without an error", f.Index)
		}
		last = f.Index
		out[f.Index] = f.Outcome
	}
	return out
}

// do calls f in a goroutine, returns what it returned, and fails if it has not after d.
func (w *world) do(what string, d time.Duration, f func() error) error {
	w.Helper()
	done := make(chan struct{})
	var err error
	go func() {
		defer close(done)
		err = f()
	}()
	w.await(what, d, done)
	return err
}

// closeConn closes conn with the harness's patience for a deadline, and fails if that takes longer than d.
func (w *world) closeConn(conn brokers.Conn, d time.Duration) error {
	w.Helper()
	ctx := w.within(w.h.Patience)
	return w.do("Close returns", d, func() error { return conn.Close(ctx) })
}

// await fails if done is not closed within d.
func (w *world) await(what string, d time.Duration, done <-chan struct{}) {
	w.Helper()
	if !await(done, d) {
		w.Fatalf("%s: not after %v", what, d)
	}
}

// happens reports whether c is closed while the suite watches.
func (w *world) happens(c <-chan struct{}) bool { return await(c, w.h.watch) }

// watch calls check until it reports true, or for as long as the suite watches that something does not happen.
func (w *world) watch(check func() bool) {
	c := newCountdown(w.h.watch)
	defer c.stop()
	for !check() {
		if <-c.ticker.C; c.over() {
			return
		}
	}
}

// fault causes a fault of the harness.
func (w *world) fault(what string, f func() error) {
	w.Helper()
	if err := f(); err != nil {
		w.Fatalf("%s: %v", what, err)
	}
}

// poll calls check from time to time until it is satisfied. It fails with what check says is expected, or with what one
// of subs complains of.
func (w *world) poll(subs []*subscriber, check func() (string, bool)) {
	w.Helper()
	deadline := newCountdown(w.h.Patience)
	defer deadline.stop()
	for {
		began := time.Now()
		what, ok := check()
		busy := time.Since(began)
		for _, s := range subs { // after the check: it may be satisfied by the very call of the sink that was wrong
			s.complaints()
		}
		if ok {
			return
		}
		// A look at thousands of messages takes as long as receiving some, and must not be in its way.
		for range 1 + int(4*busy/grain) {
			if <-deadline.ticker.C; deadline.over() {
				w.Fatalf("%s: not after %v", what, w.h.Patience)
			}
		}
	}
}

// group returns the name of a group that was never used, or "" where groups are not promised.
func (w *world) group() string {
	if !w.caps.Groups {
		return ""
	}
	return "g-" + w.h.Channel()
}
