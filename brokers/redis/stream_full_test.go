package redis_test

import (
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
	server := testbroker.StartRedis(t, testbroker.RedisOptions{})
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
	server := testbroker.StartRedis(t, testbroker.RedisOptions{})
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
