package redis_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/internal/testbroker"
)

// fillMemory has a server of its own take nothing that needs memory, until free is called.
func fillMemory(tb testing.TB, server *testbroker.Redis) (free func()) {
	tb.Helper()
	do(tb, server, "CONFIG", "SET", "maxmemory", "1")
	return func() { do(tb, server, "CONFIG", "SET", "maxmemory", "0") }
}

// Suppose a server is full when a group parks for the first time. What is parked without a group could not be promoted, and would
// leave the set of what is due all the same.
func TestWhatIsParkedOnAFullServerComesAgain(t *testing.T) {
	t.Parallel()
	server := testbroker.RealRedis(t)
	c, r := open(t, streamURL(server)), newRecorder()
	subscribe(t, c, r, group("g", orders))
	t.Cleanup(func() { letGo(r) })
	publish(t, c, message(orders, "one"), message(orders, "two"))
	eventually(t, 30*time.Second, "both arrive", func() bool { return len(r.deliveries()) == 2 })
	free := fillMemory(t, server)
	settle(t, r.deliveries(), brokers.Redeliver, 100*time.Millisecond)
	free()
	for _, body := range []string{"one", "two"} {
		eventually(t, 30*time.Second, body+" comes again", func() bool { return r.count(body) == 2 })
	}
}

// Suppose the group of what is parked is destroyed, by hand or by a tool that cleans up: what waits is in its stream still.
func TestWhatIsParkedComesAgainWhenItsGroupIsGone(t *testing.T) {
	t.Parallel()
	server := testbroker.RealRedis(t)
	c, r := open(t, streamURL(server)), newRecorder()
	subscribe(t, c, r, group("g", orders))
	t.Cleanup(func() { letGo(r) })
	publish(t, c, message(orders, "one"))
	eventually(t, 30*time.Second, "it arrives", func() bool { return len(r.deliveries()) == 1 })
	const parked, due = "eventbus:{" + orders + "}:parked:g", "eventbus:{" + orders + "}:due:g"
	settle(t, r.deliveries(), brokers.Redeliver, time.Hour)
	do(t, server, "XGROUP", "DESTROY", parked, "g")
	do(t, server, "EVAL", "return redis.call('ZADD', KEYS[1], 0, redis.call('ZRANGE', KEYS[1], 0, 0)[1])", "1", due)
	eventually(t, 30*time.Second, "it comes again", func() bool { return r.count("one") == 2 })
}

// Suppose nobody reads for a while, and what is published fills the server. What is to drain it must be able to.
func TestAFullServerIsDrained(t *testing.T) {
	t.Parallel()
	server := testbroker.RealRedis(t)
	do(t, server, "XGROUP", "CREATE", "eventbus:{"+orders+"}", "g", "0", "MKSTREAM")
	publish(t, open(t, streamURL(server)), messages(300, orders)...)
	free := fillMemory(t, server)
	defer free()
	c, r := open(t, streamURL(server)+"?prefetch=10"), newRecorder() // of a service that starts now
	r.SettleAll()
	subscribe(t, c, r, group("g", orders))
	eventually(t, 30*time.Second, "the backlog is delivered", func() bool { return len(r.deliveries()) == 300 })
	looks := calls(t, server, "time")
	eventually(t, 30*time.Second, "polls have passed", func() bool { return calls(t, server, "time") >= looks+4 })
	do(t, server, "EVAL", `redis.call('XDEL', KEYS[1], '0-0')
		return redis.call('XADD', KEYS[1], '*', 'body', 'late')`, "1", "eventbus:{"+orders+"}")
	eventually(t, 30*time.Second, "what came later is delivered", func() bool { return r.has("late") })
	eventually(t, 30*time.Second, "all is settled", func() bool {
		p, err := server.Client().XPending(t.Context(), "eventbus:{"+orders+"}", "g").Result()
		return err == nil && p.Count == 0
	})
	if gaps := r.gaps(); len(gaps) > 0 {
		t.Errorf("gaps: %+v", gaps)
	}
	if w := strings.Join(c.(brokers.Warner).Warnings(), "\n"); strings.Contains(w, "clock") {
		t.Errorf("the clock is not noted: %s", w)
	}
}

// Suppose a foreign program writes an entry with more fields than a script can move. It must not be lost, nor hold up what is settled
// with it.
func TestAnEntryOfTooManyFieldsToBeParkedStaysPending(t *testing.T) {
	t.Parallel()
	server := testbroker.RealRedis(t)
	c, r := open(t, streamURL(server)), newRecorder()
	subscribe(t, c, r, group("g", orders))
	t.Cleanup(func() { letGo(r) })
	const key = "eventbus:{" + orders + "}"
	big := []any{"XADD", key, "*", "body", "big"}
	for i := range 5000 {
		big = append(big, i, "")
	}
	do(t, server, big...)
	publish(t, c, message(orders, "small"))
	eventually(t, 30*time.Second, "both arrive", func() bool { return len(r.deliveries()) == 2 })
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	ds := r.deliveries()
	if err := ds[0].Settler.Settle(ctx, []brokers.Settlement{
		{Token: ds[0].Token, Verdict: brokers.Redeliver, After: 100 * time.Millisecond},
		{Token: ds[1].Token, Verdict: brokers.Redeliver, After: 100 * time.Millisecond},
	}); err != nil {
		t.Errorf("Settle: %v", err)
	}
	eventually(t, 30*time.Second, "the other one comes again", func() bool { return r.count("small") == 2 })
	if p, err := server.Client().XPending(t.Context(), key, "g").Result(); err != nil || p.Count != 1 {
		t.Errorf("pending: %+v, %v", p, err)
	}
}
