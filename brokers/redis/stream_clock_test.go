package redis_test

import (
	"context"
	"testing"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/internal/testbroker"
)

// Suppose the server's clock jumps an hour while one event waits for its retry in some seconds and another for one in half an
// hour, a handler is at work, and a consumer has died with two more, one of which was a retry.
func TestAnHourThatTheServersClockJumpsIsNotNoticed(t *testing.T) {
	for name, jump := range map[string]time.Duration{"ahead": time.Hour, "back": -time.Hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := testbroker.StartRedis(t, testbroker.RedisOptions{Clock: true})
			url := streamURL(server) + "?lease=3s"
			c, r, other := open(t, url), newRecorder(), newRecorder()
			subscribe(t, c, r, group("g", orders))
			publish(t, c, message(orders, "soon"), message(orders, "later"), message(orders, "live"), message(orders, "at once"))
			eventually(t, 30*time.Second, "all arrive", func() bool { return len(r.deliveries()) == 4 })
			leaveWithADeadConsumer(t, server)
			subscribe(t, open(t, url), other, group("g", orders))
			t.Cleanup(func() { letGo(r, other) })
			count := func(body string) int { return r.count(body) + other.count(body) }

			const wait = 5 * time.Second
			parked := time.Now()
			settle(t, named(r, "soon"), brokers.Redeliver, wait)
			settle(t, named(r, "later"), brokers.Redeliver, 30*time.Minute)
			if err := server.SetClock(jump); err != nil {
				t.Fatal(err)
			}
			settle(t, named(r, "at once"), brokers.Redeliver, wait/4)

			eventually(t, 60*time.Second, "the retry comes", func() bool { return count("soon") >= 2 })
			if took := time.Since(parked); took < wait {
				t.Errorf("the retry that has to wait for %v came after %v", wait, took)
			}
			for _, body := range []string{"at once", "dead", "dead retry"} {
				eventually(t, 60*time.Second, body+" comes", func() bool { return count(body) > btoi(body == "at once") })
			}
			if n := count("later"); n != 1 {
				t.Errorf("what has to wait for half an hour was delivered %d times", n)
			}
			if n := count("live"); n > 2 {
				t.Errorf("what a live handler has was delivered %d times", n)
			}
		})
	}
}

// leaveWithADeadConsumer has a consumer that nobody is read an entry, and promote one that was parked.
func leaveWithADeadConsumer(t *testing.T, server *testbroker.Redis) {
	t.Helper()
	const key, parked = "eventbus:{" + orders + "}", "eventbus:{" + orders + "}:parked:g"
	do(t, server, "EVAL", `local id = redis.call('XADD', KEYS[1], '*', 'body', 'dead')
		redis.call('XREADGROUP', 'GROUP', 'g', 'gone', 'STREAMS', KEYS[1], '>')
		redis.pcall('XGROUP', 'CREATE', KEYS[2], 'g', '$', 'MKSTREAM')
		id = redis.call('XADD', KEYS[2], '*', 'body', 'dead retry')
		return redis.call('XCLAIM', KEYS[2], 'g', 'gone', 0, id, 'RETRYCOUNT', 2, 'FORCE')`, "2", key, parked)
}

// letGo settles what was delivered and what will be, so that the subscriptions can end however the test does.
func letGo(recorders ...*recorder) {
	for _, r := range recorders {
		r.SettleAll()
		for _, d := range r.deliveries() {
			_ = d.Settler.Settle(context.Background(), []brokers.Settlement{{Token: d.Token}}) // some may be settled already
		}
	}
}

// named returns the deliveries of a body.
func named(r *recorder, body string) (out []brokers.Delivery) {
	for _, d := range r.deliveries() {
		if string(d.Body) == body {
			out = append(out, d)
		}
	}
	return out
}
