package faults

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	_ "github.com/eventbus-go/eventbus/brokers/redis"
	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/internal/testbroker"
	"github.com/eventbus-go/eventbus/schema"
	"github.com/eventbus-go/eventbus/store/deadletter"
)

// What a process that is killed gets from its parent.
const (
	envVictimURL = "EVENTBUS_TEST_VICTIM_URL"
	envVictimDie = "EVENTBUS_TEST_VICTIM_DIES"
)

// A deadlyStore kills its process once a letter is written, before anybody could settle the event.
type deadlyStore struct{ deadletter.Store }

func (s deadlyStore) Put(ctx context.Context, letters ...deadletter.Letter) error {
	err := s.Store.Put(ctx, letters...)
	if err == nil && os.Getenv(envVictimDie) != "" {
		self, findErr := os.FindProcess(os.Getpid())
		if findErr == nil {
			_ = self.Kill()
		}
		select {} // the signal is on its way
	}
	return err
}

// TestVictim is the process that is killed: it handles one event, fails, and ends when the event is settled.
func TestVictim(t *testing.T) {
	url := os.Getenv(envVictimURL)
	if url == "" {
		t.Skip("only run by the test that kills it")
	}
	store, err := deadletter.Open(url)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	b := open(t, bus.Config{URL: url}, bus.WithDeadLetters(deadlyStore{store}))
	sub, err := b.Subscribe(bus.Subscription{
		Name: "victim", Channels: []string{"x.all"}, Group: "g", Retry: bus.RetryPolicy{Attempts: 1},
		Handler: func(context.Context, schema.Event) error { return errors.New("no") },
	})
	if err := errors.Join(err, b.Start(t.Context())); err != nil {
		t.Fatal(err)
	}
	if os.Getenv(envVictimDie) != "" {
		emitAll(t, b, schema.Event{ID: "the-one", Type: "a.b", Subject: "user:1"})
	}
	eventually(t, 2*patience, "the event was handled", func() bool { return sub.Stats().DeadLettered > 0 })
}

// Suppose a process is killed between the write of the dead letter and the ack: the event comes again, fails again, and is in the
// dead letters once.
func TestAKillBetweenTheDeadLetterAndTheAckLosesNothing(t *testing.T) {
	redis := testbroker.RealRedis(t)
	url := strings.Replace(redis.URL(), "redis://", "redis+stream://", 1) + "?lease=2s"
	run := func(dies string) error {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestVictim$", "-test.timeout=2m")
		cmd.Env = append(os.Environ(), envVictimURL+"="+url, envVictimDie+"="+dies)
		out, err := cmd.CombinedOutput()
		if err != nil && dies == "" {
			return fmt.Errorf("%w: %s", err, out)
		}
		return err
	}
	store, err := deadletter.Open(url)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	if err := run("yes"); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Fatalf("the process ended with %v, want it killed", err)
	}
	first := letters(t, store)
	if len(first) != 1 || first[0].EventID != "the-one" {
		t.Fatalf("after the kill the dead letters are %+v", first)
	}
	if err := run(""); err != nil {
		t.Fatalf("the second process: %v", err)
	}
	second := letters(t, store)
	if len(second) != 1 || second[0].ID != first[0].ID || second[0].Rev == first[0].Rev {
		t.Errorf("after the redelivery they are %+v, want the same letter, written again", second)
	}
	figure(t, "kill -9 between the dead-letter write and the ack", "in the dead letters after the kill: %d; after the redelivery: %d",
		len(first), len(second))
}

func letters(t *testing.T, s deadletter.Store) (out []deadletter.Letter) {
	t.Helper()
	for l, err := range deadletter.List(t.Context(), s, deadletter.Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, l)
	}
	return out
}

// Redis Pub/Sub keeps nothing, and its dead letters are on the same server by default. The server that has them is away for a
// while: the events that failed meanwhile are there when it is back.
func TestDeadLettersOfPubSubAreOnItsServerAndOutliveItsAbsence(t *testing.T) {
	redis := testbroker.RealRedis(t)
	keeper := testbroker.RealRedis(t) // of the letters, so that events arrive while it is away
	b := open(t, bus.Config{URL: redis.URL(), DeadLetters: keeper.URL()})
	var handled atomic.Int64
	sub, err := b.Subscribe(bus.Subscription{
		Name: "s", Channels: []string{"x.all"}, Retry: bus.RetryPolicy{Attempts: 1},
		Handler: func(context.Context, schema.Event) error { handled.Add(1); return errors.New("no") },
	})
	if err := errors.Join(err, b.Start(t.Context())); err != nil {
		t.Fatal(err)
	}
	const events = 200
	if err := keeper.Kill(); err != nil {
		t.Fatal(err)
	}
	for i := range events {
		emitAll(t, b, about(fmt.Sprint("user:", i)))
	}
	eventually(t, patience, "all events have failed, and the store has been tried", func() bool {
		return sub.Stats().Failed == events && b.Stats().DeadLetters.Err != nil
	})
	if st := b.Stats().DeadLetters; st.Waiting != events || st.Lost != 0 || st.Err == nil {
		t.Errorf("while the server is away: %+v", st)
	}
	if err := b.Health(t.Context()); err == nil || strings.Contains(err.Error(), "does not answer") {
		t.Errorf("Health says %v", err)
	}
	if err := keeper.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	took := eventually(t, patience, "the letters are written", func() bool { return b.Stats().DeadLetters.Waiting == 0 })
	st, err := b.DeadLetters().Stats(t.Context())
	if err != nil || st.Depth != events || st.Oldest.IsZero() {
		t.Errorf("the store says %+v, %v", st, err)
	}
	figure(t, "dead letters' redis-server away", "%d letters waited, lost 0, written %v after it was back", events, ms(took))
}

// A redrive of many letters on a real server. The pace is printed, and in full size held to a tenth of what an idle machine
// does.
func TestARedriveOfManyLettersFromRedis(t *testing.T) {
	redis := testbroker.RealRedis(t)
	store, err := deadletter.Open(redis.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	b := open(t, bus.Config{URL: strings.Replace(redis.URL(), "redis://", "redis+stream://", 1)}, bus.WithDeadLetters(store))
	n := 10_000
	if inFull {
		n = 100_000
	}
	putLetters(t, store, n)
	begin := time.Now()
	r, err := deadletter.Redrive(t.Context(), store, deadletter.ToChannel(b.Send), deadletter.RedriveOptions{})
	took := time.Since(begin)
	st, statsErr := store.Stats(t.Context())
	if err := errors.Join(err, statsErr); err != nil || r.Sent != n || st.Depth != 0 {
		t.Errorf("%+v, %v; left are %d", r, err, st.Depth)
	}
	if published := b.Stats().Published; published.Confirmed != int64(n) {
		t.Errorf("the ledger says %+v", published)
	}
	rate := float64(n) / took.Seconds()
	if inFull && rate < 2000 || took > 4*patience {
		t.Errorf("%d letters took %v", n, took)
	}
	figure(t, "redrive from Redis to Redis Streams", "%d letters in %v, %.0f/s", n, ms(took), rate)
}
