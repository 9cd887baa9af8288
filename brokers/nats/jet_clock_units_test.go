package nats

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestWhatAReadingOfTheServersClockSays(t *testing.T) {
	const hour = time.Hour
	base := time.Now()
	// at is a reading that took so long, so long after the first one, of a clock that has jumped by then.
	at := func(after, took, jumped time.Duration) reading {
		sent := base.Add(after)
		return reading{sent: sent, got: sent.Add(took), server: base.Add(after + took/2 + jumped).Round(0)}
	}
	first := at(0, time.Millisecond, 0)
	for name, tt := range map[string]struct {
		last, now reading
		want      time.Duration
	}{
		"the first":                    {reading{}, first, 0},
		"all is well":                  {first, at(time.Second, time.Millisecond, 0), 0},
		"a night later":                {first, at(8*hour, time.Millisecond, 0), 0},
		"ahead":                        {first, at(time.Second, time.Millisecond, hour), hour},
		"back":                         {first, at(time.Second, time.Millisecond, -hour), -hour},
		"a little ahead":               {first, at(time.Second, time.Millisecond, 4*time.Second), 0},
		"a reply that took a minute":   {first, at(time.Second, time.Minute, 0), 0},
		"and the one after":            {at(0, time.Minute, 0), at(2*time.Minute, time.Millisecond, 0), 0},
		"there, and back to the right": {at(0, time.Millisecond, hour), at(time.Second, time.Millisecond, 0), -hour},
	} {
		if got := tt.now.jumped(tt.last); (got - tt.want).Abs() > 10*time.Millisecond {
			t.Errorf("%s: %v, wants %v", name, got, tt.want)
		}
	}
}

// A clockStep is what happens to one message of a subscription.
type clockStep struct {
	delivered int    // the server delivers it, for this time
	does      string // what is done then
	want      string // how it is taken
}

func TestAMessageThatComesEarlyIsSentBackAndIsNoAttempt(t *testing.T) {
	for name, steps := range map[string][]clockStep{
		"in time":                               {{1, "back", "1"}, {0, "due", ""}, {2, "", "2"}},
		"early":                                 {{1, "back", "1"}, {2, "", "early"}, {0, "due", ""}, {3, "back", "2"}, {0, "due", ""}, {4, "", "3"}},
		"early twice":                           {{1, "back", "1"}, {2, "", "early"}, {3, "", "early"}, {0, "due", ""}, {4, "", "2"}},
		"others had it":                         {{1, "back", "1"}, {3, "", "held"}, {0, "due", ""}, {4, "", "4"}},
		"others were given it after a jump":     {{1, "back", "1"}, {0, "ahead", ""}, {3, "", "early"}, {0, "due", ""}, {5, "", "2"}},
		"a copy of what is at work":             {{1, "", "1"}, {2, "", "copy"}, {0, "back", ""}, {0, "due", ""}, {3, "", "2"}},
		"a copy, and one that others had":       {{1, "", "1"}, {0, "ahead", ""}, {3, "", "copy"}, {0, "back", ""}, {0, "due", ""}, {4, "", "2"}},
		"the consumer was made anew":            {{4, "back", "4"}, {1, "", "1"}},
		"a server that knows no delays":         {{1, "back", "1"}, {2, "", "early"}, {3, "", "early"}, {4, "", "early"}, {5, "", "early"}, {6, "", "early"}, {7, "", "2"}},
		"forgotten a while after it was due":    {{1, "back", "1"}, {0, "due", ""}, {0, "look", ""}, {2, "", "held"}},
		"early once, which is known for longer": {{1, "back", "1"}, {2, "", "early"}, {0, "due", ""}, {0, "look", ""}, {3, "", "2"}},
	} {
		synctest.Test(t, func(t *testing.T) {
			l, token := newLeases(), uint64(0)
			for i, step := range steps {
				got := ""
				if step.delivered > 0 {
					got, token = deliverTo(l, step.delivered, token)
				}
				switch step.does {
				case "back":
					l.settle(token, time.Hour)
				case "due":
					<-time.After(time.Hour + time.Second)
				case "ahead":
					l.delays("S", true, time.Now())
				case "look":
					l.forgetDue("S", time.Now())
				}
				if got != step.want {
					t.Errorf("%s, step %d: %q, wants %q", name, i, got, step.want)
				}
			}
		})
	}
}

// deliverTo does with a delivery as a member does, and returns what that was.
func deliverTo(l *leases, delivered int, last uint64) (what string, token uint64) {
	from := origin{place{"S", 7}, delivered}
	if delivered > 1 {
		wait, sure := l.recall(from)
		if wait > 0 {
			l.back(from, "reply")
			return "early", last
		}
		if !sure && last > 0 {
			return "held", last
		}
	}
	token, unseen, ok := l.add(from, "reply")
	if !ok {
		return "copy", token
	}
	return string(rune('0' + delivered - unseen)), token
}

func TestAfterAJumpTheServerIsToldWhatIsLeftOfEachDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLeases()
		for seq, after := range []time.Duration{time.Minute, time.Hour, 2 * time.Second, time.Second} {
			token, _, _ := l.add(origin{place{"S", uint64(seq)}, 1}, string(rune('a'+seq)))
			l.settle(token, after)
		}
		token, _, _ := l.add(origin{place{"another", 1}, 1}, "z")
		l.settle(token, time.Hour)
		<-time.After(1500 * time.Millisecond)
		calm := time.Now()
		<-time.After(1500 * time.Millisecond)
		told := func(ahead bool) string {
			var out []string
			for _, a := range l.delays("S", ahead, calm) {
				out = append(out, a.reply+string(a.text))
			}
			slices.Sort(out)
			return strings.Join(out, " ")
		}
		const left = `a-NAK {"delay": 57000000000} b-NAK {"delay": 3597000000000}`
		if got := told(true); got != left {
			t.Errorf("ahead: %s", got)
		}
		if got := told(false); got != left+" c+WPI" {
			t.Errorf("back: %s", got)
		}
		l.add(origin{place{"S", 9}, 1}, "at work")
		if n, free := l.known("S"), l.unknown("S", 0, 10); n != 3 || !slices.Equal(free, []uint64{2, 3, 4, 5, 6, 7, 8, 10}) {
			t.Errorf("%d are known, and not %v", n, free)
		}
		if l.forgetDelays("S"); l.known("S") != 1 || l.known("another") != 1 {
			t.Error("what is known of a stream that is gone is not forgotten, or more is")
		}
	})
}

func TestWhatWaitsForItsTimeOfDayFollowsTheClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, from := newLeases(), origin{place{"S", 7}, 1}
		l.backUntil(from, "reply", time.Hour)
		from.attempt = 2
		if wait, sure := l.recall(from); wait != 0 || !sure {
			t.Errorf("it waits for %v more by a clock that is not that of its time: %v", wait, sure)
		}
		if ahead, back := l.delays("S", true, time.Now()), l.delays("S", false, time.Now()); len(ahead) != 0 || len(back) != 1 {
			t.Errorf("the server is told %v ahead, and %v back", ahead, back)
		}
		l.backUntil(from, "reply", time.Hour)
		from.attempt = 3
		if _, unseen, _ := l.add(from, "reply"); unseen != 1 {
			t.Errorf("%d deliveries besides the first were no attempts, wants 1", unseen)
		}
	})
}

func TestMoreDelaysThanAreRememberedAreLeftToTheServer(t *testing.T) {
	l := newLeases()
	for seq := range uint64(delaysKept + 10) {
		token, _, _ := l.add(origin{place{"S", seq}, 1}, "reply")
		l.settle(token, time.Hour)
	}
	if n := len(l.delayed); n != delaysKept {
		t.Errorf("%d are remembered", n)
	}
}
