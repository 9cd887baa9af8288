package faults

import (
	"context"
	"testing"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/internal/testbroker"
)

// downRedis is a server that was there and is not.
func downRedis(t *testing.T) *testbroker.Redis {
	t.Helper()
	redis := testbroker.RealRedis(t)
	if err := redis.Kill(); err != nil {
		t.Fatal(err)
	}
	return redis
}

func TestAServiceStartsWhileRedisIsDownAndGoesOnWhenItAppears(t *testing.T) {
	const events = 3000
	redis := downRedis(t)
	books := newWitness(t, redis.PatientURL(), events)
	w := newWorld(t, books, bus.Config{}, bus.Hooks{})
	y := newTally("all", events, "user_service.events.all")
	w.count(y)
	w.start()
	for i := range events / 2 {
		if err := w.Emit(t.Context(), numbered(i)); err != nil {
			t.Fatalf("Emit returned %v", err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	health := w.Health(ctx)
	if health == nil {
		t.Error("Health says that all is well")
	}
	select {
	case err := <-w.ran:
		t.Fatalf("Run returned %v instead of waiting", err)
	case <-w.Ready():
		t.Fatal("a bus without a broker is ready")
	case <-time.After(1500 * time.Millisecond):
	}
	if err := redis.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	back := time.Now()
	select {
	case <-w.Ready():
	case <-time.After(within(5 * time.Second)):
		t.Fatalf("not ready %v after the server has appeared", within(5*time.Second))
	}
	ready := time.Now()
	if err := w.Health(t.Context()); err != nil {
		t.Errorf("Health says %v", err)
	}
	for i := events / 2; i < events; i++ {
		if err := w.Emit(t.Context(), numbered(i)); err != nil {
			t.Fatalf("Emit returned %v", err)
		}
	}
	w.quiet()
	books.agrees(t, w.Stats().Published, events)
	l := y.everythingAccounted(t, books, ready, patience)
	w.shut()
	st := w.Stats().Published
	if st.Confirmed != events*int64(len(channels)) || l.inGaps > 0 || y.count.Load() < events/2 {
		t.Errorf("%+v, %d handled, %d in gaps", st, y.count.Load(), l.inGaps)
	}
	figure(t, "redis-server down at start", "ready %v after it appeared; all %d messages confirmed, %d emitted "+
		"before; meanwhile Health: %v",
		ms(ready.Sub(back)), events*len(channels), events/2*len(channels), health)
}

func TestPublishToARedisThatIsDownReturnsByItsDeadlineWithEveryOutcome(t *testing.T) {
	const deadline = 2 * time.Second
	redis := downRedis(t)
	w := newWorld(t, connect(t, redis.URL()), bus.Config{}, bus.Hooks{})
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	began := time.Now()
	err := w.Publish(ctx, numbered(0), numbered(1))
	took := time.Since(began)
	got := outcomes(t, err)
	if len(got) != 2*len(channels) || took < deadline-100*time.Millisecond || took > deadline+within(250*time.Millisecond) {
		t.Errorf("%d outcomes after %v", len(got), took)
	}
	states := map[brokers.Outcome]int64{}
	for i, o := range got {
		want := numbered(i / len(channels)).ID
		// Unknown is the truth where the driver happens to be at an attempt when the time is over.
		honest := o.State == brokers.NotSent || o.State == brokers.Unknown
		if o.EventID != want || o.Channel != channels[i%len(channels)] || !honest || o.Err == nil {
			t.Errorf("outcome %d is %+v", i, o)
		}
		states[o.State]++
	}
	if err := redis.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := w.Publish(t.Context(), numbered(2)); err != nil {
		t.Errorf("Publish to the server that is back: %v", err)
	}
	w.shut()
	st := w.Stats().Published
	if st.Confirmed != 3 || st.Dropped[bus.DropCanceled] != 6 {
		t.Errorf("%+v: what Publish has given up must not be sent later", st)
	}
	figure(t, "Publish while redis-server is down", "returned after %v of %v with %d outcomes: %v; none of them was "+
		"sent later",
		ms(took), deadline, len(got), states)
}
