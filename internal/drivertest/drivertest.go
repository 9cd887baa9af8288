// Package drivertest is what the drivers' own tests have in common, beside the conformance suite in brokers/brokertest: how they open
// and subscribe, a sink that keeps what it sees, and how long they wait.
package drivertest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/brokers/brokertest"
)

// Open opens a connection by its URL, and closes it when the test has ended.
func Open(tb testing.TB, url string) brokers.Conn {
	tb.Helper()
	c, err := brokers.Open(tb.Context(), url)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { Close(tb, c) })
	return c
}

// Close closes a connection, within five seconds in full size.
func Close(tb testing.TB, c brokers.Conn) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(tb.Context()), Within(5*time.Second))
	defer cancel()
	if err := c.Close(ctx); err != nil {
		tb.Errorf("Close: %v", err)
	}
}

// A Sink tells when its subscription is ready.
type Sink interface {
	brokers.Sink
	// IsReady is closed by Ready.
	IsReady() <-chan struct{}
}

// Subscribe starts a subscription, waits until it is ready, and ends it when the test has ended, or when end is called.
func Subscribe(tb testing.TB, c brokers.Conn, sink Sink, s brokers.Subscription) (end func() error) {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(tb.Context()))
	done := make(chan error, 1)
	go func() { done <- c.Subscribe(ctx, s, sink) }()
	end = sync.OnceValue(func() error {
		cancel()
		select {
		case err := <-done:
			return err
		case <-time.After(time.Minute):
			return errors.New("it has not returned a minute after its context ended: is a delivery left unsettled?")
		}
	})
	tb.Cleanup(func() {
		if err := end(); err != nil {
			tb.Errorf("Subscribe: %v", err)
		}
	})
	select {
	case <-sink.IsReady():
	case err := <-done:
		done <- err
		tb.Fatalf("Subscribe returned before it was ready: %v", err)
	case <-time.After(Within(10 * time.Second)):
		tb.Fatal("the subscription is not ready after 10 s")
	}
	return end
}

// Eventually waits until ok returns true, for as long as patience says in full size; a run beside others is late at times.
func Eventually(tb testing.TB, patience time.Duration, what string, ok func() bool) {
	tb.Helper()
	began := time.Now()
	deadline := began.Add(Within(patience))
	for ; !ok(); began = time.Now() {
		if time.Now().After(deadline) {
			tb.Fatalf("not after %v: %s", Within(patience), what)
		}
		// Looking at thousands of deliveries takes as long as receiving some, and must not be in its way.
		<-time.After(max(2*time.Millisecond, 4*time.Since(began)))
	}
}

// Within returns a bound on time, as it is in full size. A run beside others shows that the thing happens at all: how soon it
// does is the machine's business there, and everywhere where the bound is 0.
func Within(bound time.Duration) time.Duration {
	if bound > 0 && os.Getenv(brokertest.EnvFull) == "1" {
		return bound
	}
	return max(bound, 30*time.Second)
}

// Message returns one with no more than a body.
func Message(channel, body string) brokers.Message {
	return brokers.Message{Channel: channel, Body: []byte(body)}
}

// Messages returns n of them, body-0 and so on.
func Messages(n int, channel string) []brokers.Message {
	out := make([]brokers.Message, n)
	for i := range out {
		out[i] = Message(channel, fmt.Sprintf("body-%d", i))
	}
	return out
}
