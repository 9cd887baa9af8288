package bus_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/schema"
)

// An error that waiting does not cure is cured by the fallback: a Publish waits for that.
func TestPublishWaitsForTheFallback(t *testing.T) {
	main, audit := newMoody(false), newMoody(false)
	var cfg bus.Config
	cfg.Publish.FallbackAfter = 50 * time.Millisecond
	w := newPair(t, main, hopeless{audit}, cfg)
	audit.feel(down)
	if err := w.publish(schema.Event{ID: "1", Type: "d.x"}); err != nil {
		t.Errorf("got %v", err)
	}
	var pe *bus.PublishError
	if err := w.publish(schema.Event{ID: "2", Type: "b.x"}); !errors.As(err, &pe) || pe.Outcomes[0].State != brokers.NotSent {
		t.Errorf("without a fallback: %v", err)
	}
	if got := main.taken(); !slices.Equal(got, []string{"1@x.d"}) {
		t.Errorf("main took %v", got)
	}
}

// hopeless is a broker whose errors do not go away.
type hopeless struct{ *moody }

// Events of the rule with the fallback, when audit is away: they wait, then go to main, in order, and go back.
func TestAFallbackTakesOverAndGivesBackInOrder(t *testing.T) {
	for name, ping := range map[string]bool{"with a ping": true, "without": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				main, audit := newMoody(false), newMoody(false)
				var conn brokers.Conn = audit
				if !ping {
					conn = blind{audit}
				}
				w := newPair(t, main, conn, bus.Config{})
				n := 0
				emit := func() {
					w.emit(schema.Event{ID: fmt.Sprintf("%03d", n), Type: "d.x", Subject: "k"})
					n++
				}
				run := func(how mood, d time.Duration) {
					audit.feel(how)
					for range int(d / (100 * time.Millisecond)) {
						emit()
						time.Sleep(100 * time.Millisecond)
					}
				}
				run(well, time.Second)
				run(down, 4*time.Second)
				if len(main.taken()) > 0 || w.Stats().Brokers["audit"].Unavailable {
					t.Errorf("the fallback was used before the time was over: %v", main.taken())
				}
				run(down, 16*time.Second)
				if st := w.Stats().Brokers["audit"]; !st.Unavailable || st.Published.FellBack < 150 || st.Published.Queued > 1 {
					t.Errorf("the fallback is not used: %+v", st)
				}
				run(well, 20*time.Second)
				w.close()
				st := w.Stats().Brokers["audit"]
				first, rest := len(audit.taken()), n-len(audit.taken())
				if st.Published.Confirmed != int64(n) || st.Published.FellBack != int64(rest) || st.Switches != 1 || st.Returns != 1 ||
					st.Unavailable || st.MaybeTwice != 0 || w.Stats().Brokers["main"].Published.Accepted != 0 {
					t.Errorf("%d by audit, %d by main, and %+v", first, rest, st)
				}
				inOrder(t, "audit", audit.taken())
				inOrder(t, "main", main.taken())
				for _, want := range []string{"broker unavailable", "broker available again", "broker=audit"} {
					if !strings.Contains(w.log.String(), want) {
						t.Errorf("the log does not say %q:\n%s", want, w.log)
					}
				}
			})
		})
	}
}

func inOrder(t *testing.T, who string, took []string) {
	t.Helper()
	if len(took) == 0 || !slices.IsSorted(took) || len(slices.Compact(slices.Clone(took))) != len(took) {
		t.Errorf("%s took %v", who, took)
	}
}

// A frozen broker may have what it gave no reply to. Only where it is durable is it sent over the other one, and counted.
func TestWhatMayHaveArrivedIsSentOverTheFallbackOnlyWhereTheFirstBrokerIsDurable(t *testing.T) {
	for _, durable := range []bool{false, true} {
		t.Run(fmt.Sprint("durable=", durable), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				main, audit := newMoody(true), newMoody(durable)
				w := newPair(t, main, audit, bus.Config{})
				audit.feel(frozen)
				w.emit(ids("d.x", 10)...)
				time.Sleep(20 * time.Second)
				synctest.Wait()
				st := w.Stats().Brokers["audit"]
				taken := len(main.taken())
				if !durable && (st.Published.Dropped[bus.DropUnconfirmed] == 0 || st.MaybeTwice != 0 ||
					int64(taken) != 10-st.Published.Dropped[bus.DropUnconfirmed]) {
					t.Errorf("main took %d, and %+v", taken, st)
				}
				if durable && (taken != 10 || st.MaybeTwice == 0 || st.Published.DroppedTotal() != 0) {
					t.Errorf("main took %d, and %+v", taken, st)
				}
				audit.feel(well)
				w.close()
			})
		})
	}
}

// On trial a broker is sent a single message: one that answers pings and takes nothing costs no more than that.
func TestABrokerThatAnswersPingsAndTakesNothingIsTriedLessAndLess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		main, audit := newMoody(false), newMoody(false)
		w := newPair(t, main, deaf{audit}, bus.Config{})
		audit.feel(down)
		began := time.Now()
		for time.Since(began) < 10*time.Minute {
			w.emit(ids("d.x", 10)...)
			time.Sleep(50 * time.Millisecond)
		}
		tried := 0
		audit.mu.Lock()
		for _, n := range audit.sizes[len(audit.sizes)-10:] {
			tried = max(tried, n)
		}
		calls := len(audit.sizes)
		audit.mu.Unlock()
		if tried != 1 || calls > 60 {
			t.Errorf("it was sent up to %d messages at once, %d times", tried, calls)
		}
		if st := w.Stats().Brokers["audit"]; st.Switches != 1 || st.Returns != 0 || st.Published.DroppedTotal() > 0 {
			t.Errorf("%+v", st)
		}
		audit.feel(well)
		time.Sleep(2 * time.Minute)
		w.emit(ids("d.x", 1)...)
		synctest.Wait()
		if st := w.Stats().Brokers["audit"]; st.Returns != 1 || st.Unavailable {
			t.Errorf("%+v", st)
		}
		w.close()
	})
}

// A deaf broker answers every ping.
type deaf struct{ *moody }

func TestARefusalIsAnAnswerAndNeverFallsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		main, audit := newMoody(false), newMoody(false)
		w := newPair(t, main, audit, bus.Config{})
		audit.feel(picky)
		for range 100 {
			w.emit(ids("d.x", 1)...)
			time.Sleep(time.Second)
		}
		w.close()
		if st := w.Stats().Brokers["audit"]; st.Published.Rejected != 100 || st.Switches != 0 || len(main.taken()) > 0 {
			t.Errorf("%+v", st)
		}
	})
}
