package redis_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/internal/testbroker"
)

const orders = "shop.orders"

func group(name string, channels ...string) brokers.Subscription {
	return brokers.Subscription{Name: "test", Group: name, Channels: channels}
}

func publish(tb testing.TB, c brokers.Conn, msgs ...brokers.Message) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := c.Publish(ctx, msgs); err != nil {
		tb.Fatalf("Publish: %v", err)
	}
}

// settle gives deliveries one verdict.
func settle(tb testing.TB, list []brokers.Delivery, v brokers.Verdict, after time.Duration) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for _, d := range list {
		if err := d.Settler.Settle(ctx, []brokers.Settlement{{Token: d.Token, Verdict: v, After: after}}); err != nil {
			tb.Errorf("Settle %s: %v", d.Body, err)
		}
	}
}

// count is how often a body was delivered.
func (r *recorder) count(body string) (n int) {
	for _, d := range r.deliveries() {
		if string(d.Body) == body {
			n++
		}
	}
	return n
}

// settleAll acks everything that was delivered, so that a subscription can end.
func settleAll(tb testing.TB, r *recorder) {
	for _, d := range r.deliveries() {
		_ = d.Settler.Settle(context.Background(), []brokers.Settlement{{Token: d.Token}}) // some may be settled already
	}
}

func do(tb testing.TB, server *testbroker.Redis, args ...any) any {
	tb.Helper()
	v, err := server.Do(context.Background(), args...)
	if err != nil {
		tb.Fatalf("%v: %v", args, err)
	}
	return v
}

// nextMillisecond waits until the server's clock has moved on. Within one millisecond the first entry of a stream has
// the id that the first entry of its predecessor had, and nobody can tell them apart.
func nextMillisecond(tb testing.TB, server *testbroker.Redis) {
	tb.Helper()
	now := func() time.Time { return server.Client().Time(tb.Context()).Val().Truncate(time.Millisecond) }
	start := now()
	eventually(tb, 5*time.Second, "the server's clock moves on", func() bool { return now().After(start) })
}

func TestAGroupThatVanishesIsMadeAgainAndReported(t *testing.T) {
	const key = "eventbus:{" + orders + "}"
	for name, destroy := range map[string][]any{
		"flushed":         {"FLUSHALL"},
		"stream deleted":  {"DEL", key},
		"group destroyed": {"XGROUP", "DESTROY", key, "g"},
	} {
		t.Run(name, func(t *testing.T) {
			server := testbroker.RealRedis(t)
			do(t, server, "FLUSHALL")
			c, r := open(t, streamURL(server)), newRecorder()
			subscribe(t, c, r, group("g", orders))
			publish(t, c, message(orders, "before"))
			eventually(t, 5*time.Second, "what comes before arrives", func() bool { return r.has("before") })
			settleAll(t, r)
			do(t, server, destroy...)
			nextMillisecond(t, server)
			publish(t, c, message(orders, "after"))
			eventually(t, 5*time.Second, "the gap is reported", func() bool { return len(r.gaps()) == 1 })
			eventually(t, 5*time.Second, "what comes after arrives", func() bool { return r.has("after") })
			if g := r.gaps()[0]; g.Err == nil || (g.Missed == 0) != (name == "group destroyed") {
				t.Errorf("the gap is %+v", g)
			}
			settleAll(t, r)
		})
	}
}

// Suppose a group is destroyed while one member has a message and another was killed with one: neither may be lost.
func TestAGroupThatIsDestroyedLosesNothingThatWasNotSettled(t *testing.T) {
	server := testbroker.RealRedis(t)
	do(t, server, "FLUSHALL")
	c, r := open(t, streamURL(server)), newRecorder()
	const key = "eventbus:{" + orders + "}"
	publish(t, c, messages(20, orders)...)
	do(t, server, "XGROUP", "CREATE", key, "g", "0")
	do(t, server, "XREADGROUP", "GROUP", "g", "killed", "COUNT", "5", "STREAMS", key, ">")
	end := subscribe(t, c, r, group("g", orders))
	eventually(t, 5*time.Second, "the rest arrives", func() bool { return len(r.deliveries()) == 15 })
	eventually(t, 5*time.Second, "the steward knows the floor", func() bool { return calls(t, server, "xinfo|groups") >= 3 })
	do(t, server, "XGROUP", "DESTROY", key, "g")
	eventually(t, 5*time.Second, "all arrive", func() bool {
		for i := range 20 {
			if !r.has(fmt.Sprintf("body-%d", i)) {
				return false
			}
		}
		return true
	})
	for i := 5; i < 20; i++ {
		if n := r.count(fmt.Sprintf("body-%d", i)); n != 1 {
			t.Errorf("body-%d, which this member held, was delivered %d times", i, n)
		}
	}
	settleAll(t, r)
	if err := end(); err != nil {
		t.Error(err)
	}
}

func TestAHandlerThatTakesLeasesRunsOnce(t *testing.T) {
	t.Parallel()
	server := testbroker.RealRedis(t)
	url := streamURL(server) + "?lease=5s" // which a busy machine does not outlast between two prolongations
	c, r, other := open(t, url), newRecorder(), newRecorder()
	subscribe(t, c, r, group("g", orders))
	publish(t, c, message(orders, "slow"))
	eventually(t, 5*time.Second, "it arrives", func() bool { return r.has("slow") })
	subscribe(t, open(t, url), other, group("g", orders))
	fence := time.Now().Add(7 * time.Second)
	eventually(t, 30*time.Second, "more than a lease passes", func() bool { return time.Now().After(fence) })
	if n := r.count("slow") + other.count("slow"); n != 1 {
		t.Errorf("it was delivered %d times", n)
	}
	settleAll(t, r)
	settleAll(t, other)
}

func TestWhatADeadConsumerHadIsTakenOverWithItsAttempts(t *testing.T) {
	server := testbroker.RealRedis(t)
	do(t, server, "FLUSHALL")
	c, r := open(t, streamURL(server)+"?lease=500ms"), newRecorder()
	const key = "eventbus:{" + orders + "}"
	publish(t, c, messages(3, orders)...)
	do(t, server, "XGROUP", "CREATE", key, "g", "0")
	do(t, server, "XREADGROUP", "GROUP", "g", "killed", "STREAMS", key, ">")
	began := time.Now()
	subscribe(t, c, r, group("g", orders))
	eventually(t, 5*time.Second, "all arrive", func() bool { return len(r.deliveries()) == 3 })
	if took := time.Since(began); took > within(2500*time.Millisecond) {
		t.Errorf("it took %v, of a lease of 500ms", took)
	}
	for _, d := range r.deliveries() {
		if d.Attempt != 2 {
			t.Errorf("%s is attempt %d", d.Body, d.Attempt)
		}
	}
	settleAll(t, r)
}

func TestAConsumerWithANameGetsItsOwnPendingEntriesFirst(t *testing.T) {
	server := testbroker.RealRedis(t)
	do(t, server, "FLUSHALL")
	c, r := open(t, streamURL(server)+"?lease=1h&consumer=host1"), newRecorder()
	const key = "eventbus:{" + orders + "}"
	publish(t, c, messages(700, orders)...)
	do(t, server, "XGROUP", "CREATE", key, "g", "0")
	do(t, server, "XREADGROUP", "GROUP", "g", "host1-test", "COUNT", "650", "STREAMS", key, ">")
	subscribe(t, c, r, brokers.Subscription{Name: "test", Group: "g", Channels: []string{orders}, Prefetch: 1000})
	eventually(t, 5*time.Second, "all arrive", func() bool { return len(r.deliveries()) == 700 })
	for i, d := range r.deliveries() {
		if want := fmt.Sprintf("body-%d", i); string(d.Body) != want || d.Attempt != 1+btoi(i < 650) {
			t.Fatalf("delivery %d is %s, attempt %d; wants %s", i, d.Body, d.Attempt, want)
		}
	}
	settleAll(t, r)
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

func TestASubscriptionLeavesNothingBehind(t *testing.T) {
	server := testbroker.RealRedis(t)
	do(t, server, "FLUSHALL")
	c, r, tail := open(t, streamURL(server)), newRecorder(), newRecorder()
	end := subscribe(t, c, r, group("g", orders))
	endTail := subscribe(t, c, tail, brokers.Subscription{Name: "tail", Channels: []string{orders}})
	publish(t, c, message(orders, "one"))
	eventually(t, 5*time.Second, "it arrives twice", func() bool { return r.has("one") && tail.has("one") })
	settleAll(t, r)
	for _, end := range []func() error{end, endTail} {
		if err := end(); err != nil {
			t.Error(err)
		}
	}
	groups, err := server.Client().XInfoGroups(t.Context(), "eventbus:{"+orders+"}").Result()
	if err != nil || len(groups) != 1 || groups[0].Name != "g" || groups[0].Consumers != 0 || groups[0].Pending != 0 {
		t.Errorf("%+v, %v: wants one group without consumers", groups, err)
	}
}

// The steps of a message that is parked, each followed by the death of the server, whose append-only file is all that
// is left.
func TestAParkedMessageSurvivesTheServerAtEachStep(t *testing.T) {
	server := testbroker.StartRedis(t, always)
	kill := func() {
		t.Helper()
		if err := server.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := server.Restart(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	c, r := open(t, streamURL(server)+"?lease=1s&read_timeout=10s&write_timeout=10s"), newRecorder()
	subscribe(t, c, r, group("g", orders))
	arrives := func(n int) brokers.Delivery {
		t.Helper()
		eventually(t, 10*time.Second, fmt.Sprintf("delivery %d comes", n), func() bool { return len(r.deliveries()) >= n })
		d := r.deliveries()[n-1]
		if string(d.Body) != "precious" || d.ID != "id" || d.Attempt != n {
			t.Fatalf("delivery %d is %+v", n, d)
		}
		return d
	}
	m := message(orders, "precious")
	m.ID = "id"
	publish(t, c, m)
	first := arrives(1)
	kill() // pending in the channel's stream
	settle(t, []brokers.Delivery{first}, brokers.Redeliver, 300*time.Millisecond)
	kill() // parked
	second := arrives(2)
	kill() // promoted, and being handled
	settle(t, []brokers.Delivery{second}, brokers.Redeliver, 300*time.Millisecond)
	kill() // parked again
	third := arrives(3)
	settle(t, []brokers.Delivery{third}, brokers.Ack, 0)
	kill() // settled
	publish(t, c, message(orders, "fence"))
	eventually(t, 10*time.Second, "a later message arrives", func() bool { return r.has("fence") })
	settleAll(t, r)
	if n := r.count("precious"); n != 3 {
		t.Errorf("it was delivered %d times", n)
	}
	for _, key := range []string{"eventbus:{" + orders + "}:parked:g", "eventbus:{" + orders + "}:due:g"} {
		if n := do(t, server, "EVAL", "local n = redis.pcall('XLEN', KEYS[1]); if type(n) == 'table' then return redis.call('ZCARD', KEYS[1]) end return n", "1", key); n != int64(0) {
			t.Errorf("%s still has %v", key, n)
		}
	}
}

// Suppose a member promotes a parked message and is killed before it handles it.
func TestAPromotedMessageOfADeadMemberIsTakenOver(t *testing.T) {
	server := testbroker.RealRedis(t)
	do(t, server, "FLUSHALL")
	const parked = "eventbus:{" + orders + "}:parked:g"
	c, r := open(t, streamURL(server)+"?lease=500ms"), newRecorder()
	do(t, server, "XGROUP", "CREATE", parked, "g", "$", "MKSTREAM")
	id := do(t, server, "XADD", parked, "*", "body", "orphan")
	do(t, server, "XCLAIM", parked, "g", "killed", "0", id, "RETRYCOUNT", "4", "FORCE")
	subscribe(t, c, r, group("g", orders))
	eventually(t, 5*time.Second, "it arrives", func() bool { return r.has("orphan") })
	if d := r.deliveries()[0]; d.Attempt != 5 || d.Channel != orders {
		t.Errorf("it is %+v", d)
	}
	settleAll(t, r)
}

// Suppose a member promotes a message for its third attempt and is killed: whoever takes it over makes the fourth.
func TestAPromotedMessageKeepsItsAttempts(t *testing.T) {
	server := testbroker.RealRedis(t)
	do(t, server, "FLUSHALL")
	url := streamURL(server) + "?lease=500ms"
	c, r := open(t, url), newRecorder()
	subscribe(t, c, r, group("g", orders))
	publish(t, c, message(orders, "m"))
	eventually(t, 5*time.Second, "it arrives", func() bool { return r.count("m") == 1 })
	for n := 1; n <= 2; n++ {
		settle(t, r.deliveries()[n-1:], brokers.Redeliver, time.Millisecond)
		eventually(t, 5*time.Second, "it comes again", func() bool { return r.count("m") == n+1 })
	}
	pending, err := server.Client().XPendingExt(t.Context(), &goredis.XPendingExtArgs{
		Stream: "eventbus:{" + orders + "}:parked:g", Group: "g", Start: "-", End: "+", Count: 10,
	}).Result()
	if err != nil || len(pending) != 1 || pending[0].RetryCount != 3 {
		t.Errorf("the server says %+v, %v; wants one that was delivered three times", pending, err)
	}
	settle(t, r.deliveries()[2:], brokers.Ack, 0)
}

func TestADelayIsForItsOwnGroupAlone(t *testing.T) {
	server := testbroker.RealRedis(t)
	do(t, server, "FLUSHALL")
	c, ours, theirs := open(t, streamURL(server)), newRecorder(), newRecorder()
	subscribe(t, c, ours, group("ours", orders))
	subscribe(t, c, theirs, group("theirs", orders))
	publish(t, c, message(orders, "m"))
	eventually(t, 5*time.Second, "both have it", func() bool { return ours.has("m") && theirs.has("m") })
	settleAll(t, theirs)
	settle(t, ours.deliveries(), brokers.Redeliver, 50*time.Millisecond)
	eventually(t, 5*time.Second, "it comes again", func() bool { return ours.count("m") == 2 })
	publish(t, c, message(orders, "fence"))
	eventually(t, 5*time.Second, "both have the next", func() bool { return ours.has("fence") && theirs.has("fence") })
	if n := theirs.count("m"); n != 1 {
		t.Errorf("the other group has it %d times", n)
	}
	settleAll(t, ours)
	settleAll(t, theirs)
}

func TestASubscriptionWithoutAGroupIsToldWhatItMissed(t *testing.T) {
	const key = "eventbus:{" + orders + "}"
	for name, destroy := range map[string][]any{"flushed": {"FLUSHALL"}, "stream deleted": {"DEL", key}} {
		t.Run(name, func(t *testing.T) {
			server := testbroker.RealRedis(t)
			do(t, server, "FLUSHALL")
			c, r := open(t, streamURL(server)), newRecorder()
			subscribe(t, c, r, brokers.Subscription{Name: "tail", Channels: []string{orders}})
			publish(t, c, message(orders, "before"))
			eventually(t, 5*time.Second, "what comes before arrives", func() bool { return r.has("before") })
			do(t, server, destroy...)
			nextMillisecond(t, server)
			publish(t, c, message(orders, "after"))
			eventually(t, 5*time.Second, "the gap is reported", func() bool { return len(r.gaps()) == 1 })
			eventually(t, 5*time.Second, "what comes after arrives", func() bool { return r.count("after") == 1 })
		})
	}
}

// A message with a NotBefore waits at the server for a group, and in the subscription without one.
func TestASubscriptionWithoutAGroupWaitsForNotBefore(t *testing.T) {
	server := testbroker.RealRedis(t)
	do(t, server, "FLUSHALL")
	c, r := open(t, streamURL(server)), newRecorder()
	subscribe(t, c, r, brokers.Subscription{Name: "tail", Channels: []string{orders}})
	late := message(orders, "late")
	late.NotBefore = time.Now().Add(300 * time.Millisecond)
	publish(t, c, late, message(orders, "now"))
	eventually(t, 5*time.Second, "both arrive", func() bool { return r.has("late") && r.has("now") })
	if time.Now().Before(late.NotBefore) || string(r.deliveries()[0].Body) != "now" {
		t.Error("it came too early")
	}
}

func TestAClusterIsRefusedWithAClearWord(t *testing.T) {
	server := testbroker.StartRedis(t, testbroker.RedisOptions{Args: []string{"--cluster-enabled", "yes"}})
	c := open(t, streamURL(server))
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	err := c.Publish(ctx, messages(1, orders))
	if err == nil || !strings.Contains(err.Error(), "Redis Cluster") || c.Retryable(err) {
		t.Errorf("Publish: %v, retryable %v", err, c.Retryable(err))
	}
	err = c.Subscribe(ctx, group("g", orders), newRecorder())
	if err == nil || !strings.Contains(err.Error(), "Redis Cluster") {
		t.Errorf("Subscribe: %v", err)
	}
}

func TestTheServersSettingsThatWeakenThePromisesAreWarnings(t *testing.T) {
	for name, tt := range map[string]struct {
		args []string
		want []string
	}{
		"stores nothing": {nil, []string{"appendonly yes"}},
		"stores":         {always.Args, nil},
		"evicts":         {append([]string{"--maxmemory-policy", "allkeys-lru"}, always.Args...), []string{"noeviction"}},
	} {
		t.Run(name, func(t *testing.T) {
			c := open(t, streamURL(testbroker.StartRedis(t, testbroker.RedisOptions{Args: tt.args})))
			publish(t, c, message(orders, "m"))
			got := c.(brokers.Warner).Warnings()
			if len(got) != len(tt.want) {
				t.Fatalf("warnings: %q", got)
			}
			for i, want := range tt.want {
				if !strings.Contains(got[i], want) {
					t.Errorf("warning %q, wants %q", got[i], want)
				}
			}
		})
	}
}

func TestLagAndProvision(t *testing.T) {
	server := testbroker.RealRedis(t)
	do(t, server, "FLUSHALL")
	c := open(t, streamURL(server))
	p := brokers.Provision{
		Channels: []string{"shop.orders", "shop.refunds", "other"},
		Groups:   []brokers.GroupProvision{{Group: "g", Channels: []string{"shop.*"}}, {Group: "now", Channels: []string{"other"}, Start: brokers.StartNow}},
	}
	for range 2 {
		if err := c.(brokers.Provisioner).Provision(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	publish(t, c, messages(5, orders)...)
	publish(t, c, message("other", "x"))
	r := newRecorder()
	end := subscribe(t, c, r, brokers.Subscription{Name: "s", Group: "g", Channels: []string{orders}, Prefetch: 2})
	eventually(t, 5*time.Second, "two arrive", func() bool { return len(r.deliveries()) == 2 })
	settle(t, r.deliveries()[:1], brokers.Redeliver, time.Hour)
	eventually(t, 5*time.Second, "a third arrives", func() bool { return len(r.deliveries()) == 3 })
	got, err := c.(brokers.Lagger).Lag(t.Context(), "g", []string{"shop.refunds", "nobody", orders, "other"})
	if err != nil || len(got) != 2 {
		t.Fatalf("%+v, %v", got, err)
	}
	if l := got[0]; l.Channel != "shop.refunds" || l.Waiting != 0 || l.Pending != 0 || !l.Oldest.IsZero() {
		t.Errorf("of an empty channel: %+v", l)
	}
	if l := got[1]; l.Channel != orders || l.Waiting != 2 || l.Pending != 3 || time.Since(l.Oldest) > time.Minute {
		t.Errorf("of a channel with a backlog: %+v", l)
	}
	settleAll(t, r)
	eventually(t, 5*time.Second, "the rest arrives", func() bool { return len(r.deliveries()) == 5 })
	settleAll(t, r)
	if err := end(); err != nil {
		t.Error(err)
	}
}

// max_entries is for those who prefer a loss to a full memory; the loss is told.
func TestAGroupIsToldWhatItLostToATrim(t *testing.T) {
	server := testbroker.RealRedis(t)
	do(t, server, "FLUSHALL")
	c, r := open(t, streamURL(server)), newRecorder()
	s := group("g", orders)
	s.Prefetch = 1
	subscribe(t, c, r, s)
	publish(t, c, messages(10, orders)...)
	eventually(t, 5*time.Second, "the first arrives", func() bool { return len(r.deliveries()) == 1 })
	before := calls(t, server, "xinfo|groups")
	// The keeper asks, too, but not twice in so short a time.
	eventually(t, 10*time.Second, "the steward has looked", func() bool { return calls(t, server, "xinfo|groups") >= before+3 })
	do(t, server, "XTRIM", "eventbus:{"+orders+"}", "MAXLEN", "2")
	eventually(t, 10*time.Second, "the gap is reported", func() bool { return len(r.gaps()) == 1 })
	if g := r.gaps()[0]; g.Reason != brokers.GapOverflow || g.Missed < 6 || g.Missed > 7 {
		t.Errorf("%+v", g)
	}
	settleAll(t, r)
	eventually(t, 10*time.Second, "the ones that are left arrive", func() bool {
		settleAll(t, r)
		return r.has("body-8") && r.has("body-9")
	})
	settleAll(t, r)
}
