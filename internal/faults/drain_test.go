package faults

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/internal/testbroker"
	"github.com/eventbus-go/eventbus/schema"
	"github.com/eventbus-go/eventbus/store/deadletter"
)

const (
	envDraineeURL = "EVENTBUS_TEST_DRAINEE_URL"
	drainHandlers = 100
	drainLongest  = 500 * time.Millisecond
)

// TestDrainee is the process that is told to end: its handlers take half a second, a hundred at once. It writes what it does to
// its standard output, a word and a value in each line.
func TestDrainee(t *testing.T) {
	url := os.Getenv(envDraineeURL)
	if url == "" {
		t.Skip("only run by the test that ends it")
	}
	stop, cancel := signal.NotifyContext(t.Context(), syscall.SIGTERM)
	defer cancel()
	var running atomic.Int64
	var out sync.Mutex
	say := func(what string, v any) { out.Lock(); defer out.Unlock(); fmt.Println("drainee:", what, v) }
	b := open(t, bus.Config{URL: url})
	sub, err := b.Subscribe(bus.Subscription{
		Name: "s", Channels: []string{"x.all"}, Group: "g", Concurrency: drainHandlers,
		Handler: func(ctx context.Context, e schema.Event) error {
			if running.Add(1) == drainHandlers {
				say("running", drainHandlers)
			}
			defer running.Add(-1)
			select {
			case <-time.After(drainLongest):
				say("handled", e.ID)
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		},
	})
	if err := errors.Join(err, b.Start(t.Context())); err != nil {
		t.Fatal(err)
	}
	<-stop.Done()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	began := time.Now()
	say("before", sub.Stats().Handled)
	if err := b.Close(ctx); err != nil {
		t.Error(err)
	}
	say("closed", time.Since(began).Milliseconds())
	say("after", sub.Stats().Handled)
}

// A rolling update: a process is told to end while a hundred of its handlers run, events go on arriving, and another takes over.
func TestAProcessThatIsToldToEndLosesNothingAndRepeatsNothing(t *testing.T) {
	const events = 3000
	redis := testbroker.RealRedis(t)
	url := strings.Replace(redis.URL(), "redis://", "redis+stream://", 1)
	store, err := deadletter.Open(redis.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	seen := make(map[string]int)
	var mu sync.Mutex
	b := open(t, bus.Config{URL: url})
	next := open(t, bus.Config{URL: url})
	_, err = next.Subscribe(bus.Subscription{
		Name: "s", Channels: []string{"x.all"}, Group: "g",
		Handler: func(_ context.Context, e schema.Event) error { mu.Lock(); defer mu.Unlock(); seen[e.ID]++; return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	publish := func(from, to int) {
		for i := from; i < to; i++ {
			e := about(fmt.Sprint("user:", i))
			e.ID = fmt.Sprint("event-", i)
			emitAll(t, b, e)
		}
	}
	publish(0, events*2/3) // a new group begins with what is there
	says, wait, end := startDrainee(t, url)
	handled, report, told := make(map[string]bool), make(map[string]int), false
	for line := range says {
		what, value, _ := strings.Cut(line, " ")
		switch n := 0; what {
		case "running":
			if told {
				continue
			}
			told = true
			end()
			publish(events*2/3, events)
		case "handled":
			handled[value] = true
		default:
			_, _ = fmt.Sscan(value, &n)
			report[what] = n
		}
	}
	if err := wait(); err != nil || report["closed"] == 0 {
		t.Fatalf("the process that was told to end: %v, %v", err, report)
	}
	if err := next.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, patience, "the other process has handled the rest", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(seen)+len(handled) >= events
	})
	repeated := 0
	for id, n := range seen {
		if n > 1 || handled[id] {
			repeated++
		}
	}
	letters, err := store.Stats(t.Context())
	if repeated > 0 || err != nil || letters.Depth != 0 || len(handled) != report["after"] || len(seen)+len(handled) != events {
		t.Errorf("of %d events %d were handled here and %d there, %d of them again; %d dead letters, %v; %v",
			events, len(handled), len(seen), repeated, letters.Depth, err, report)
	}
	took, during := time.Duration(report["closed"])*time.Millisecond, report["after"]-report["before"]
	// What no handler has begun is given back: otherwise a thousand events would be handled first.
	if during > 7*drainHandlers || took > drainLongest+10*time.Second {
		t.Errorf("Close let %d handlers finish and took %v", during, took)
	}
	if os.Getenv("EVENTBUS_FULL") == "1" && took > drainLongest+500*time.Millisecond {
		t.Errorf("Close took %v, the longest handler %v", took, drainLongest)
	}
	figure(t, "SIGTERM with 100 handlers in flight", "%d events: %d handled before, %d while Close took %v with handlers of %v, "+
		"%d by the next process; repeated %d, dead letters %d", events, report["before"], during, ms(took), drainLongest, len(seen),
		repeated, letters.Depth)
}

// startDrainee starts the process, and returns what it says, how to wait for it, and how to tell it to end.
func startDrainee(t *testing.T, url string) (says <-chan string, wait func() error, end func()) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestDrainee$", "-test.timeout=2m")
	cmd.Env = append(os.Environ(), envDraineeURL+"="+url)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := make(chan string, 10_000)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			if said, ok := strings.CutPrefix(s.Text(), "drainee: "); ok {
				lines <- said
			}
		}
	}()
	return lines, cmd.Wait, func() {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
	}
}
