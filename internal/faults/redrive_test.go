package faults

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/internal/testbroker"
	"github.com/eventbus-go/eventbus/schema"
	"github.com/eventbus-go/eventbus/store/deadletter"
)

// envRedriverURL is what a process that is killed gets from its parent.
const envRedriverURL = "EVENTBUS_TEST_REDRIVER_URL"

// redriveBatch is the batch of the process that is killed: twice as many letters may be sent again.
const redriveBatch = 100

// TestRedriver is the process that is killed: it sends all dead letters again.
func TestRedriver(t *testing.T) {
	url := os.Getenv(envRedriverURL)
	if url == "" {
		t.Skip("only run by the test that kills it")
	}
	b := open(t, bus.Config{URL: url})
	_, err := deadletter.Redrive(t.Context(), b.DeadLetters(), deadletter.ToChannel(b.Send), deadletter.RedriveOptions{
		Batch: redriveBatch, Rate: 1000, // so that it is killed before it is done, also on a busy machine
	})
	if err != nil {
		t.Fatal(err)
	}
}

// putLetters fills a store with letters of x.all, and of events e0, e1 and so on.
func putLetters(t *testing.T, store deadletter.Store, n int) {
	t.Helper()
	var batch []deadletter.Letter
	for i := range n {
		e := schema.Event{ID: fmt.Sprint("e", i), Type: "a.b", Source: "s", Time: time.Now(), Subject: fmt.Sprint("user:", i)}
		body, err := schema.Encode(e)
		if err != nil {
			t.Fatal(err)
		}
		l := deadletter.Letter{
			Rev: "r", Subscription: "s", Channel: "x.all", EventID: e.ID, EventType: e.Type, Key: e.Subject, Body: body, Size: len(body),
			Last: time.Now().Add(-time.Hour), Error: "no",
		}
		l.SetID()
		if batch = append(batch, l); len(batch) == 500 || i == n-1 {
			if err := store.Put(t.Context(), batch...); err != nil {
				t.Fatal(err)
			}
			batch = batch[:0]
		}
	}
}

// A redrive that is killed in its middle, and called again: every event was sent, and those of two batches at most were sent twice.
func TestARedriveThatIsKilledResumes(t *testing.T) {
	const letters = 5000
	redis := testbroker.RealRedis(t)
	url := strings.Replace(redis.URL(), "redis://", "redis+stream://", 1)
	b := open(t, bus.Config{URL: url})
	putLetters(t, b.DeadLetters(), letters)
	got := newJournal()
	_, err := b.Subscribe(bus.Subscription{Name: "s", Channels: []string{"x.all"}, Group: "s", Handler: func(_ context.Context, e schema.Event) error {
		got.mu.Lock()
		defer got.mu.Unlock()
		got.times[e.ID]++
		return nil
	}})
	if err := errors.Join(err, b.Start(t.Context())); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestRedriver$", "-test.timeout=2m")
	cmd.Env = append(os.Environ(), envRedriverURL+"="+url)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, patience, "some are sent", func() bool { return got.len() > letters/5 })
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	left, err := b.DeadLetters().Stats(t.Context())
	if err != nil || left.Depth == 0 {
		t.Fatalf("it was killed too late: %+v, %v", left, err)
	}
	r, err := deadletter.Redrive(t.Context(), b.DeadLetters(), deadletter.ToChannel(b.Send), deadletter.RedriveOptions{})
	if err != nil || int64(r.Sent) != left.Depth {
		t.Errorf("the second redrive: %+v, %v; left were %d", r, err, left.Depth)
	}
	eventually(t, patience, "all are handled", func() bool { return got.len() == letters })
	after, err := b.DeadLetters().Stats(t.Context())
	if err != nil || after.Depth != 0 {
		t.Errorf("left are %+v, %v", after, err)
	}
	eventually(t, patience, "nothing is on its way", func() bool {
		st := b.Stats().Subscriptions["s"]
		return st.InFlight == 0 && b.Stats().Published.Queued == 0
	})
	twice := 0
	got.mu.Lock()
	defer got.mu.Unlock()
	for id, n := range got.times {
		if twice += n - 1; n > 2 {
			t.Errorf("event %s was sent %d times", id, n)
		}
	}
	if twice > 2*redriveBatch {
		t.Errorf("%d were sent twice, which is more than two batches", twice)
	}
	figure(t, "kill -9 of a redrive", "%d letters, %d left at the kill, all sent, %d of them twice (batch %d)", letters, left.Depth, twice,
		redriveBatch)
}
