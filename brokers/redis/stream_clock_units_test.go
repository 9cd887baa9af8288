package redis

import (
	"context"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/internal/handover"
	"github.com/eventbus-go/eventbus/internal/testbroker"
)

func TestWhatAReadingOfTheServersClockSays(t *testing.T) {
	const hour, noon = time.Hour, 100 * time.Hour
	base := time.Now()
	// at is a reading that took 10 ms, so long after the first one, of a clock that has jumped by then.
	at := func(after, jumped, skew, seen time.Duration) *reading {
		sent := base.Add(after)
		return &reading{sent: sent, got: sent.Add(10 * time.Millisecond), server: noon + after + jumped, skew: skew, seen: seen}
	}
	first := at(0, 0, 0, noon-time.Second)
	for name, tt := range map[string]struct {
		last, r *reading
		want    finding
	}{
		"the first":                           {nil, at(0, 0, 0, 0), finding{}},
		"the first, of a clock with a skew":   {nil, at(0, 0, hour, noon-time.Second), finding{skew: hour}},
		"the first after a night":             {nil, at(0, 0, 0, noon-8*hour), finding{unsure: true}},
		"the first of a clock that went back": {nil, at(0, -hour, 0, noon), finding{jumped: -hour, skew: -hour}},
		"all is well":                         {first, at(time.Second, 0, 0, noon), finding{}},
		"all is well, and nobody said so":     {first, at(time.Second, 0, 0, noon-5*time.Second), finding{vouch: true}},
		"a frozen server":                     {first, at(hour, 0, 0, noon), finding{vouch: true}},
		"a second too much":                   {first, at(time.Second, time.Second, 0, noon), finding{}},
		"ahead":                               {first, at(time.Second, hour, 0, noon), finding{jumped: hour, skew: hour}},
		"back":                                {first, at(time.Second, -hour, 0, noon), finding{jumped: -hour, skew: -hour}},
		"ahead, on top of a skew":             {at(0, 0, -hour, noon), at(time.Second, hour, -hour, noon), finding{jumped: hour}},
		"ahead, and others know":              {first, at(time.Second, hour, hour, noon+hour), finding{jumped: hour, skew: hour}},
		"ahead, and others know for a while":  {first, at(20*time.Second, hour, hour, noon+hour), finding{jumped: hour, skew: hour}},
		"others know of what we never saw":    {first, at(time.Second, 0, hour, noon), finding{skew: hour}},
		"ahead twice, and others know of one": {first, at(time.Second, 2*hour, hour, noon+hour), finding{jumped: 2 * hour, skew: 2 * hour}},
		"ahead for us alone":                  {first, at(time.Second, hour, 0, noon+hour-3*time.Second), finding{jumped: hour}},
		"back, and somebody has just come":    {first, at(time.Second, -hour, -hour, noon-hour), finding{jumped: -hour, skew: -hour}},
	} {
		got := judge(tt.last, tt.r)
		near := func(a, b time.Duration) bool { return (a - b).Abs() < 100*time.Millisecond }
		if !near(got.jumped, tt.want.jumped) || !near(got.skew, tt.want.skew) || got.vouch != tt.want.vouch || got.unsure != tt.want.unsure {
			t.Errorf("%s: %+v, wants %+v", name, got, tt.want)
		}
	}
}

// A clockTest has members that look when it says so, on a server whose clock it moves.
type clockTest struct {
	*testing.T
	server *testbroker.Redis
	c      *stream
	client *goredis.Client
	ahead  time.Duration
}

const clockLease = 30 * time.Second

// inProcess is a server that knows no entries that are delivered in the future.
var inProcess = testbroker.RedisOptions{InProcess: true, Clock: true}

func newClockTest(t *testing.T, opts testbroker.RedisOptions) *clockTest {
	server := testbroker.StartRedis(t, opts)
	ct := &clockTest{T: t, server: server, client: server.Client()}
	ct.c = openedStream(t, "redis+stream://"+server.Addr())
	ct.jump(0)
	ct.do("XGROUP", "CREATE", "eventbus:{a}", "g", "0", "MKSTREAM")
	return ct
}

func (t *clockTest) do(args ...any) any {
	t.Helper()
	v, err := t.server.Do(t.Context(), args...)
	if err != nil {
		t.Fatalf("%v: %v", args, err)
	}
	return v
}

// jump moves the server's clock.
func (t *clockTest) jump(d time.Duration) {
	t.Helper()
	t.ahead += d
	if err := t.server.SetClock(t.ahead); err != nil {
		t.Fatal(err)
	}
}

// pass has time pass, for the server and for what m remembers of its looks.
func (t *clockTest) pass(d time.Duration, members ...*member) {
	t.jump(d)
	for _, m := range members {
		m.clock.last.sent, m.clock.last.got = m.clock.last.sent.Add(-d), m.clock.last.got.Add(-d)
		m.spareUntil = m.spareUntil.Add(-d)
	}
}

func (t *clockTest) member() *member {
	t.Helper()
	s := brokers.Subscription{Name: "s", Group: "g", Channels: []string{"a"}}
	patterns, err := readChannels(s.Name, s.Channels)
	if err != nil {
		t.Fatal(err)
	}
	m := t.c.newMember(s, patterns, handover.New())
	m.client = t.c.pub
	if err := m.attach(t.Context()); err != nil {
		t.Fatal(err)
	}
	return m
}

// poll has a member look, and returns the bodies that it has been given since it was last asked.
func (t *clockTest) poll(m *member) string {
	t.Helper()
	if err := m.poll(t.Context(), m.room()); err != nil {
		t.Fatal(err)
	}
	return t.given(m)
}

func (t *clockTest) given(m *member) string {
	var bodies []string
	for _, s := range []*source{m.all()[0], m.all()[0].parked} {
		for _, id := range m.heldIDs(s) {
			e := t.client.XRange(t.Context(), s.key, id.String(), id.String()).Val()
			bodies = append(bodies, e[0].Values["body"].(string))
		}
	}
	return strings.Join(bodies, " ")
}

// fetch has a member read an entry with this body.
func (t *clockTest) fetch(m *member, body string) *lease {
	t.Helper()
	t.do("XADD", "eventbus:{a}", "*", "body", body)
	m.polled = time.Now()
	if err := m.readNew(t.Context(), 10); err != nil {
		t.Fatal(err)
	}
	s := m.all()[0]
	for id, l := range s.held {
		if e := t.client.XRange(t.Context(), s.key, id.String(), id.String()).Val(); e[0].Values["body"] == body {
			return l
		}
	}
	t.Fatalf("%s was not read", body)
	return nil
}

func (t *clockTest) park(m *member, body string, after time.Duration) {
	t.Helper()
	l := t.fetch(m, body)
	err := m.Settle(t.Context(), []brokers.Settlement{{Token: brokers.Token{Ref: l}, Verdict: brokers.Redeliver, After: after}})
	if err != nil {
		t.Fatal(err)
	}
}

func (t *clockTest) want(what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: it was given %q, wants %q", what, got, want)
	}
}

func TestWhatIsParkedWaitsAsLongAsItShallWhereTheClockJumps(t *testing.T) {
	for name, jump := range map[string]time.Duration{"ahead": time.Hour, "back": -time.Hour} {
		t.Run(name, func(t *testing.T) {
			ct := newClockTest(t, inProcess)
			a, b := ct.member(), ct.member()
			ct.want("at first", ct.poll(a)+ct.poll(b), "")
			ct.park(a, "before", 10*time.Minute)
			ct.jump(jump)
			ct.park(b, "unnoticed", 10*time.Minute)
			ct.want("a jump", ct.poll(a), "")
			ct.park(b, "noticed by others", 10*time.Minute)
			ct.want("a jump that others have noticed", ct.poll(b), "")
			ct.park(b, "after", 10*time.Minute)
			late := ct.member()
			ct.want("one that comes later", ct.poll(late), "")
			ct.pass(9*time.Minute, a, b, late)
			ct.want("a minute before", ct.poll(a)+ct.poll(b)+ct.poll(late), "")
			ct.pass(2*time.Minute, a, b, late)
			if got := ct.poll(b); len(strings.Fields(got)) != len(strings.Fields("before unnoticed noticed by others after")) {
				t.Errorf("a minute after: it was given %q, wants all", got)
			}
		})
	}
}

func TestAClockThatJumpsThereAndBackIsWhereItWas(t *testing.T) {
	ct := newClockTest(t, inProcess)
	a, b := ct.member(), ct.member()
	for _, jump := range []time.Duration{0, time.Hour, -2 * time.Hour, time.Hour} {
		ct.jump(jump)
		ct.poll(a)
		ct.poll(b)
	}
	if skew := a.clock.last.skew.Abs(); skew > time.Minute || skew != b.clock.last.skew.Abs() {
		t.Errorf("the skew is %v and %v", a.clock.last.skew, b.clock.last.skew)
	}
}

// Suppose two members find the same jump, and neither has heard of the other's.
func TestAJumpIsTakenBackOnce(t *testing.T) {
	ct := newClockTest(t, inProcess)
	a, b := ct.member(), ct.member()
	ct.poll(a)
	r := *a.clock.last
	for i, m := range []*member{a, b} {
		got, err := m.setSkew(t.Context(), &r, time.Hour+time.Duration(i)*time.Second)
		if err != nil || got != time.Hour {
			t.Errorf("%v, %v: wants the skew that the first has found", got, err)
		}
	}
}

// Suppose all members are down while the clock is set back.
func TestAClockThatWentBackWhileNobodyLookedGoesOn(t *testing.T) {
	ct := newClockTest(t, inProcess)
	a := ct.member()
	ct.poll(a)
	ct.park(a, "parked", 10*time.Minute)
	ct.pass(vouchEvery, a)
	ct.want("before", ct.poll(a), "") // and vouches
	ct.jump(-time.Hour)
	b := ct.member()
	ct.want("at first", ct.poll(b), "")
	ct.pass(11*time.Minute, b)
	ct.want("eleven minutes later", ct.poll(b), "parked")
}

// Suppose somebody comes in the moment between a jump and the next look of those who can tell.
func TestWhoComesAfterALongTimeLetsOthersSpeakFirst(t *testing.T) {
	ct := newClockTest(t, inProcess)
	a := ct.member()
	ct.poll(a)
	ct.pass(vouchEvery, a)
	ct.poll(a)
	ct.park(a, "parked", 10*time.Minute)
	ct.jump(time.Hour)
	b := ct.member()
	ct.want("the first look", ct.poll(b), "")
	ct.poll(a)
	ct.want("the second look", ct.poll(b), "")
	ct.pass(11*time.Minute, a, b)
	ct.want("eleven minutes later", ct.poll(b), "parked")
}

// Where all were down for an hour, what was due meanwhile comes at the second look.
func TestTimeInWhichNobodyLookedHasPassed(t *testing.T) {
	ct := newClockTest(t, inProcess)
	a := ct.member()
	ct.poll(a)
	ct.pass(vouchEvery, a)
	ct.poll(a)
	ct.park(a, "parked", 10*time.Minute)
	ct.pass(time.Hour)
	b := ct.member()
	ct.want("the first look", ct.poll(b), "")
	ct.want("the second look", ct.poll(b), "parked")
}

func TestWhatADeadConsumerHasIsDueOneLeaseAfterTheClockWentBack(t *testing.T) {
	for name, before := range map[string]bool{"seen by a member": true, "while nobody looked": false} {
		t.Run(name, func(t *testing.T) {
			ct := newClockTest(t, testbroker.RedisOptions{Clock: true})
			a := ct.member()
			for range 2*idlePage + 1 {
				ct.do("XADD", "eventbus:{a}", "*", "body", "x")
			}
			ct.do("XREADGROUP", "GROUP", "g", "dead", "COUNT", 1000, "STREAMS", "eventbus:{a}", ">")
			if before {
				ct.want("before", ct.poll(a), "")
			}
			ct.jump(-time.Hour)
			ct.want("the jump", ct.poll(a), "")
			ct.pass(clockLease-time.Second, a)
			ct.want("before a lease is over", ct.poll(a), "")
			ct.pass(2*time.Second, a)
			ct.poll(a)
			if got := ct.poll(a); len(strings.Fields(got)) != 2*idlePage+1 {
				t.Errorf("after a lease: it was given %d", len(strings.Fields(got)))
			}
		})
	}
}

func TestWhatALiveConsumerHasIsSparedWhereTheClockJumpsAhead(t *testing.T) {
	ct := newClockTest(t, inProcess)
	a, b := ct.member(), ct.member()
	ct.poll(a)
	ct.poll(b)
	ct.fetch(a, "live")
	ct.do("XADD", "eventbus:{a}", "*", "body", "dead")
	ct.do("XREADGROUP", "GROUP", "g", "gone", "STREAMS", "eventbus:{a}", ">")
	ct.jump(time.Hour)
	ct.want("the jump", ct.poll(b), "")
	steward := &steward{m: a}
	if err := steward.prolong(context.WithoutCancel(t.Context())); err != nil {
		t.Fatal(err)
	}
	ct.pass(clockLease-time.Second, a, b)
	if err := steward.prolong(context.WithoutCancel(t.Context())); err != nil {
		t.Fatal(err)
	}
	ct.pass(2*time.Second, a, b)
	ct.want("after a lease", ct.poll(b), "dead")
}

// Suppose the clock jumps while the server does not write: fetching goes on, time goes on from the last look, and the jump is noted
// once the server can.
func TestAJumpThatCannotBeNotedIsFoundAgain(t *testing.T) {
	server := testbroker.RealRedis(t)
	c := openedStream(t, "redis+stream://"+server.Addr())
	m := &member{conn: c, client: c.pub, group: "g"}
	look := func() finding {
		t.Helper()
		_, f, err := m.look(t.Context(), 1)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	configure := func(replicas string) {
		t.Helper()
		if err := server.Client().ConfigSet(t.Context(), "min-replicas-to-write", replicas).Err(); err != nil {
			t.Fatal(err)
		}
	}
	look()
	m.clock.last.server -= time.Hour // as if it had jumped ahead since
	configure("1")
	before := m.clock.latest()
	if f := look(); f.jumped < 50*time.Minute || m.clock.latest()-before > time.Minute.Milliseconds()*30 {
		t.Errorf("found %v, and the time moved by %d ms", f.jumped, m.clock.latest()-before)
	}
	if w := c.Warnings(); !strings.Contains(strings.Join(w, "\n"), "NOREPLICAS") {
		t.Errorf("warnings: %q", w)
	}
	configure("0")
	f := look()
	if skew := server.Client().ZScore(t.Context(), c.set.stream.clockKey(), "skew").Val(); f.jumped < 50*time.Minute || skew < 3e6 {
		t.Errorf("found %v, and noted %v ms", f.jumped, skew)
	}
	if w := c.Warnings(); strings.Contains(strings.Join(w, "\n"), "NOREPLICAS") {
		t.Errorf("warnings that are over: %q", w)
	}
}
