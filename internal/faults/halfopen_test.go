package faults

import (
	"testing"
	"time"

	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/internal/testbroker"
)

func TestAHalfOpenConnectionIsNoticedAndReportedWithinTenSeconds(t *testing.T) {
	for _, test := range []struct {
		name string
		fail func(*testbroker.Proxy) error // breaks the connections that are open
		mend func(*testbroker.Proxy) error // runs seven seconds later
	}{
		{
			"the open connection is forgotten",
			func(p *testbroker.Proxy) error { p.HalfOpen(); return nil },
			func(*testbroker.Proxy) error { return nil },
		},
		{
			"and new ones for seven seconds",
			func(p *testbroker.Proxy) error { return p.SetMode(testbroker.BlackHole) },
			func(p *testbroker.Proxy) error { return p.SetMode(testbroker.Forward) },
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			const events, rate = 120_000, 2_000
			redis := testbroker.RealRedis(t)
			proxy := testbroker.StartProxy(t, redis.Addr())
			subscriber := newWorld(t, connect(t, proxy.URL()), bus.Config{}, bus.Hooks{})
			y := newTally("all", events, "user_service.events.all")
			subscriber.count(y)
			ready := subscriber.run()
			books := newWitness(t, redis.URL(), events)
			publisher := newWorld(t, books, bus.Config{}, bus.Hooks{})
			m := startEmitter(t.Context(), publisher.Bus, events, rate, 1)
			m.reaches(t, rate/2)

			failed := time.Now()
			if err := test.fail(proxy); err != nil {
				t.Fatal(err)
			}
			mended := time.AfterFunc(7*time.Second, func() {
				if err := test.mend(proxy); err != nil {
					t.Error(err)
				}
			})
			defer mended.Stop()
			gone := eventually(t, within(10*time.Second), "the gap is reported", func() bool { return len(y.gapList()) > 0 })
			y.resumes(t, failed.Add(gone), within(10*time.Second-gone))
			resumed := time.Since(failed)
			m.stop()
			publisher.quiet()
			l := y.everythingAccounted(t, books, ready, patience)
			if l.inGaps == 0 || resumed > 2*within(10*time.Second) {
				t.Errorf("the fault was not felt, or for too long: %+v, %v", l, resumed)
			}
			subscriber.shut()
			publisher.shut()
			g := y.gapList()[0]
			figure(t, "half-open connection, "+test.name, "noticed and resubscribed after %v, with a gap of %v (%v); %d "+
				"events fell into it, "+
				"%d lost silently", ms(resumed), ms(g.Until.Sub(g.Since)), g.Err, l.inGaps, l.silent)
		})
	}
}
