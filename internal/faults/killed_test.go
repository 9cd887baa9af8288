package faults

import (
	"testing"
	"time"

	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/internal/testbroker"
)

// The lanes are smaller than the default, so that they are full while the server is down: every way to lose an event is
// on the table.
func TestAKilledRedisCostsNoCallerAnErrorAndNoEventItsAccount(t *testing.T) {
	const callers = 4
	events := full(200_000, 60_000)
	rate := events / 10 // for ten seconds, so that events are emitted before, during and after
	most := events + 30*rate
	redis := testbroker.RealRedis(t)
	books := newWitness(t, redis.URL(), most)
	var cfg bus.Config
	cfg.Publish.MaxEvents = rate / 5
	w := newWorld(t, books, cfg, bus.Hooks{})
	one := newTally("one channel", most, "user_service.events.all")
	many := newTally("many channels", most, "user_service.events.*")
	w.count(one)
	w.count(many)
	ready := w.run()

	m := startEmitter(t.Context(), w.Bus, events, rate, callers)
	a := audit(w.Bus, m, books)
	var resumed time.Duration
	emitted := events
	for _, share := range []int{3, 6} {
		m.reaches(t, events*share/10)
		if err := redis.Kill(); err != nil {
			t.Fatal(err)
		}
		m.reaches(t, events*share/10+rate*3/2) // far more than the lanes hold
		if err := redis.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		back := time.Now()
		for !(one.handledAfter(back) && many.handledAfter(back)) && emitted < most {
			select {
			case <-m.done: // somebody has to emit what shows that delivery has resumed
				emitTimed(t, w.Bus, m, emitted, emitted+rate/100, rate)
				emitted += rate / 100
			case <-time.After(time.Millisecond):
			}
		}
		resumed = max(resumed, one.resumes(t, back, within(5*time.Second)), many.resumes(t, back, within(5*time.Second)))
	}
	<-m.done
	m.noErrors(t)
	w.quiet()
	samples := a.finish(t)
	books.agrees(t, w.Stats().Published, emitted)
	w.hooksTold()
	lost := one.everythingAccounted(t, books, ready, patience)
	lostMany := many.everythingAccounted(t, books, ready, patience)
	one.nothingTwice(t)
	many.nothingTwice(t)
	w.shut()

	l := w.Stats().Published
	// How many events fell into a gap is chance: none where all of those that were sent before the kill had arrived.
	if gaps := len(one.gapList()); l.Dropped[bus.DropLaneFull] == 0 || l.Confirmed == 0 || gaps < 2 {
		t.Errorf("two kills were not felt: %+v, %d gaps", l, gaps)
	}
	figure(t, "redis-server killed twice", "%d Emits by %d callers, no error; %d messages = %d confirmed + %v "+
		"dropped; balanced at %d "+
		"samples; delivery resumed after %v; %d and %d events fell into %d gaps, %d lost "+
		"silently", emitted, callers, l.Accepted,
		l.Confirmed, l.Dropped, samples, ms(resumed), lost.inGaps, lostMany.inGaps, len(one.gapList())+len(many.gapList()),
		lost.silent+lostMany.silent)
}
