package redis_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/brokers/redis"
	"github.com/eventbus-go/eventbus/internal/testbroker"
)

// outcomes returns the outcome of each of n messages.
func outcomes(tb testing.TB, n int, err error) []brokers.Outcome {
	tb.Helper()
	out := make([]brokers.Outcome, n)
	if err == nil {
		return out
	}
	var batch *brokers.BatchError
	if !errors.As(err, &batch) {
		tb.Fatalf("Publish returned %T: %v", err, err)
	}
	for i, f := range batch.Failed {
		if i > 0 && batch.Failed[i-1].Index >= f.Index {
			tb.Fatalf("failures out of order: %d after %d", f.Index, batch.Failed[i-1].Index)
		}
		out[f.Index] = f.Outcome
	}
	return out
}

func count(all []brokers.Outcome, o brokers.Outcome) (n int) {
	for _, x := range all {
		if x == o {
			n++
		}
	}
	return n
}

// lateness is by how much f takes longer than wants. On a machine that has other things to do, timers and goroutines
// are late as well, so the best of three counts.
func lateness(want time.Duration, f func()) time.Duration {
	best := time.Hour
	for range 3 {
		start := time.Now()
		f()
		if best = min(best, time.Since(start)-want); best < 50*time.Millisecond {
			break
		}
	}
	return best
}

// lateAtMost bounds lateness with room for a busy machine. Whoever waits for the server instead is later by far: it is frozen
// until the test has ended, and the client's own patience is 30 s.
const lateAtMost = 10 * time.Second

func TestPublishAllocatesNothingPerMessage(t *testing.T) {
	c := open(t, testbroker.AnyRedis(t).URL())
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	msgs := messages(512, "a.b")
	allocs := testing.AllocsPerRun(20, func() {
		if err := c.Publish(ctx, msgs); err != nil {
			t.Fatal(err)
		}
	})
	// miniredis runs in this process and allocates as it likes.
	if allocs > 40 && testbroker.Installed() {
		t.Errorf("%.0f allocations for 512 messages", allocs)
	}
}

func TestPublishIntoAFrozenServerReturnsAtItsContextsEnd(t *testing.T) {
	t.Parallel()
	server := testbroker.RealRedis(t)
	c := open(t, server.URL()+"?read_timeout=30s&write_timeout=30s")
	r := newRecorder()
	subscribe(t, c, r, brokers.Subscription{Name: "watcher", Channels: []string{"a.b"}})
	if err := c.Publish(t.Context(), messages(1, "a.b")); err != nil {
		t.Fatal(err)
	}
	if err := server.Freeze(); err != nil {
		t.Fatal(err)
	}
	deadline := func() (context.Context, context.CancelFunc) {
		return context.WithTimeout(t.Context(), 200*time.Millisecond)
	}
	cancelled := func() (context.Context, context.CancelFunc) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(200*time.Millisecond, cancel)
		return ctx, cancel
	}
	big := make([]brokers.Message, 200) // more than the sockets' buffers hold
	for i := range big {
		big[i] = message("a.b", fmt.Sprintf("big-%d-", i)+strings.Repeat("x", 256<<10))
	}
	unknown, notSent := 0, 0
	type ender func() (context.Context, context.CancelFunc)
	for name, ends := range map[string]ender{"deadline": deadline, "cancel": cancelled} {
		for _, msgs := range [][]brokers.Message{{message("a.b", name)}, big} {
			var err error
			late := lateness(200*time.Millisecond, func() {
				ctx, cancel := ends()
				defer cancel()
				err = c.Publish(ctx, msgs)
			})
			t.Logf("%s, %d messages: returned %v after ctx's end", name, len(msgs), late)
			if late > lateAtMost {
				t.Errorf("%s: Publish returned %v after its ctx had ended", name, late)
			}
			for i, o := range outcomes(t, len(msgs), err) {
				switch o {
				case brokers.Unknown:
					unknown++
				case brokers.NotSent:
					notSent++
				default:
					t.Errorf("message %d is %v", i, o)
				}
			}
		}
	}
	if unknown == 0 || notSent == 0 {
		t.Fatalf("%d unknown, %d not sent; wants some of both", unknown, notSent)
	}
	if err := server.Thaw(); err != nil {
		t.Fatal(err)
	}
	eventually(t, 5*time.Second, "messages arrive again", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_ = c.Publish(ctx, []brokers.Message{message("a.b", "thawed")})
		return r.has("thawed")
	})
}

func TestPublishThatGaveUpWhileConnectingSendsNothingAfterwards(t *testing.T) {
	t.Parallel()
	server := testbroker.RealRedis(t)
	if err := server.Freeze(); err != nil {
		t.Fatal(err)
	}
	c := open(t, server.URL()+"?read_timeout=30s")
	// A ctx that is cancelled: one with a deadline would end the client's handshake as well.
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(2*time.Second, cancel)     // by when even a busy machine has connected
	err := c.Publish(ctx, messages(3, "a.b")) // the system has accepted the connection, the server has not
	if got := count(outcomes(t, 3, err), brokers.NotSent); got != 3 {
		t.Errorf("%d of 3 not sent: %v", got, err)
	}
	if err := server.Thaw(); err != nil {
		t.Fatal(err)
	}
	eventually(t, 5*time.Second, "the connection has come and gone", func() bool {
		info, err := server.Client().Info(t.Context(), "stats", "clients").Result()
		return err == nil && strings.Contains(info, "connected_clients:1\r") && calls(t, server, "hello") >= 2
	})
	if got := calls(t, server, "publish"); got != 0 {
		t.Errorf("the server executed %d PUBLISH of 3 that were marked not sent", got)
	}
}

func TestPublishIntoABlackHoleSendsNothingEver(t *testing.T) {
	t.Parallel()
	server := testbroker.AnyRedis(t)
	proxy := testbroker.StartProxy(t, server.Addr())
	if err := proxy.SetMode(testbroker.BlackHole); err != nil {
		t.Fatal(err)
	}
	c := open(t, proxy.URL())
	var err error
	if late := lateness(100*time.Millisecond, func() {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(100*time.Millisecond, cancel)
		err = c.Publish(ctx, messages(3, "a.b"))
	}); late > lateAtMost {
		t.Errorf("Publish returned %v after its ctx had ended", late)
	}
	got := count(outcomes(t, 3, err), brokers.NotSent)
	if got != 3 || !errors.Is(err, context.Canceled) || !c.Retryable(err) {
		t.Errorf("%v, %d not sent", err, got)
	}
}

func TestPublishWithoutAServerIsNotSentAndRetryable(t *testing.T) {
	server := testbroker.AnyRedis(t)
	c := open(t, server.URL())
	if err := c.Publish(t.Context(), messages(1, "a.b")); err != nil {
		t.Fatal(err)
	}
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	for range 100 { // more than the pool has connections: each one must be tried, and none logged (see TestMain)
		err := c.Publish(t.Context(), messages(1, "a.b"))
		if o := outcomes(t, 1, err)[0]; o == brokers.Confirmed || o == brokers.Rejected || !c.Retryable(err) {
			t.Fatalf("%v: %v", o, err)
		}
	}
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.Publish(t.Context(), messages(1, "a.b")); err != nil {
		t.Fatalf("at once after the restart: %v", err)
	}
}

func TestAPipelineThatIsLostIsUnknownAndTheRestOfItsBatchIsNotSent(t *testing.T) {
	t.Parallel()
	server := testbroker.RealRedis(t)
	proxy := testbroker.StartProxy(t, server.Addr())
	client := goredis.NewClient(&goredis.Options{
		Addr: proxy.Addr(), MaxRetries: 3, ReadTimeout: 3 * time.Second, Protocol: 2,
	})
	defer client.Close()
	given := redis.New(client)
	defer closeConn(t, given)
	opened := open(t, proxy.URL()+"?read_timeout=3s") // which a busy machine takes for no reply
	for name, c := range map[string]brokers.Conn{"given": given, "opened": opened} {
		if err := c.Publish(t.Context(), messages(1, "a.b")); err != nil {
			t.Fatal(err)
		}
		proxy.HalfOpen() // what is written now is lost; a new connection would work at once
		before := calls(t, server, "publish")
		err := c.Publish(t.Context(), messages(2000, "a.b"))
		got := outcomes(t, 2000, err)
		if u, n := count(got, brokers.Unknown), count(got, brokers.NotSent); u != 512 || n != 2000-512 || !c.Retryable(err) {
			t.Errorf("%s: %d unknown, %d not sent: %v", name, u, n, err)
		}
		if n := calls(t, server, "publish") - before; n != 0 {
			t.Errorf("%s: %d messages were sent again, or overtook those that may be", name, n)
		}
		if err := c.Publish(t.Context(), messages(1, "a.b")); err != nil {
			t.Errorf("%s: the next batch: %v", name, err)
		}
	}
}

func TestAChannelThatTheUserMayNotUseIsRejectedAndItsNeighboursAreNot(t *testing.T) {
	t.Parallel()
	server := testbroker.RealRedis(t)
	_, err := server.Do(t.Context(), "ACL", "SETUSER", "bob", "on", ">secret", "+@all", "resetchannels", "&allowed*")
	if err != nil {
		t.Fatal(err)
	}
	c := open(t, strings.Replace(server.URL(), "://", "://bob:secret@", 1)+"?read_timeout=3s")
	msgs := []brokers.Message{message("denied", "0"), message("allowed", "1"), message("denied", "2")}
	err = c.Publish(t.Context(), msgs)
	got := outcomes(t, 3, err)
	if got[0] != brokers.Rejected || got[1] != brokers.Confirmed || got[2] != brokers.Rejected || c.Retryable(err) {
		t.Errorf("%v: %v", got, err)
	}
	if err := c.Publish(t.Context(), msgs[1:2]); err != nil {
		t.Errorf("the refusal stuck to the commands: %v", err)
	}
	err = c.Subscribe(t.Context(), brokers.Subscription{Name: "s", Channels: []string{"denied"}}, newRecorder())
	if err == nil || !strings.Contains(err.Error(), "NOPERM") || c.Retryable(err) {
		t.Errorf("Subscribe to a channel that is denied: %v", err)
	}
	_ = c.Publish(t.Context(), msgs)
	if err := server.Freeze(); err != nil {
		t.Fatal(err)
	}
	if got := outcomes(t, 3, c.Publish(t.Context(), msgs)); count(got, brokers.Unknown) != 3 {
		t.Errorf("the refusal stuck to the commands: %v of a frozen server", got)
	}
}

func TestAUserWhoMayOnlyPublishAndSubscribeNeedsNothingElse(t *testing.T) {
	t.Parallel()
	server := testbroker.RealRedis(t)
	_, err := server.Do(t.Context(), "ACL", "SETUSER", "bob", "on", ">secret", "allchannels",
		"+publish", "+subscribe", "+psubscribe", "+hello")
	if err != nil {
		t.Fatal(err)
	}
	c := open(t, strings.Replace(server.URL(), "://", "://bob:secret@", 1)+"?ping_interval=2s&read_timeout=10s&write_timeout=10s") // longer than a busy machine rests
	r := newRecorder()
	subscribe(t, c, r, brokers.Subscription{Name: "named", Channels: []string{"a.b"}})
	rejected := func() int {
		info, err := server.Client().Info(t.Context(), "commandstats").Result()
		if err != nil {
			t.Fatal(err)
		}
		var n, x int
		for line := range strings.Lines(info) {
			if _, rest, ok := strings.Cut(line, "cmdstat_ping:"); ok {
				_, tail, _ := strings.Cut(rest, "rejected_calls=")
				_, _ = fmt.Sscanf(tail, "%d,failed_calls=%d", &n, &x)
			}
		}
		return n
	}
	start := rejected()
	eventually(t, 30*time.Second, "more pings are refused than two intervals have", func() bool { return rejected() >= start+3 })
	if err := c.Publish(t.Context(), messages(1, "a.b")); err != nil {
		t.Fatal(err)
	}
	eventually(t, 5*time.Second, "the message arrives", func() bool { return r.has("body-0") })
	if gaps := r.gaps(); len(gaps) > 0 {
		t.Errorf("gaps: %+v", gaps)
	}
}

func TestABodyOverTheLimitIsRejectedWhereverItStands(t *testing.T) {
	c := open(t, testbroker.AnyRedis(t).URL()+"?max_bytes=10")
	if got := c.Capabilities().MaxBytes; got != 10 {
		t.Errorf("MaxBytes is %d", got)
	}
	long := message("a.b", strings.Repeat("x", 11))
	err := c.Publish(t.Context(), []brokers.Message{long, message("a.b", "1234567890"), long})
	got := outcomes(t, 3, err)
	if got[0] != brokers.Rejected || got[1] != brokers.Confirmed || got[2] != brokers.Rejected || c.Retryable(err) {
		t.Errorf("%v: %v", got, err)
	}
}

func TestAPasswordThatIsWrongOrMissingIsOneClearError(t *testing.T) {
	server := testbroker.StartRedis(t, testbroker.RedisOptions{Password: "right", InProcess: !testbroker.Installed()})
	for url, want := range map[string]string{
		"redis://:wr0ng@" + server.Addr(): "WRONGPASS",
		"redis://" + server.Addr():        "NOAUTH",
	} {
		c := open(t, url)
		checks := map[string]error{
			"Subscribe": c.Subscribe(t.Context(), brokers.Subscription{Name: "s", Channels: []string{"a"}}, newRecorder()),
			"Publish":   c.Publish(t.Context(), messages(3, "a")),
			"Ping":      c.(brokers.Pinger).Ping(t.Context()),
		}
		for name, err := range checks {
			if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "wr0ng") || c.Retryable(err) {
				t.Errorf("%s with %s: %v; wants %s, final, without the password", name, url, err, want)
			}
		}
		if got := count(outcomes(t, 3, checks["Publish"]), brokers.NotSent); got != 3 {
			t.Errorf("%d of 3 messages are marked not sent", got)
		}
	}
	c := open(t, server.URL())
	if err := c.Publish(t.Context(), messages(3, "a")); err != nil {
		t.Errorf("with the right password: %v", err)
	}
	if err := c.(brokers.Pinger).Ping(t.Context()); err != nil {
		t.Errorf("Ping with the right password: %v", err)
	}
}

func TestPingReturnsAtItsContextsEnd(t *testing.T) {
	t.Parallel()
	server := testbroker.RealRedis(t)
	c := open(t, server.URL()+"?read_timeout=30s")
	if err := server.Freeze(); err != nil {
		t.Fatal(err)
	}
	if late := lateness(100*time.Millisecond, func() {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(100*time.Millisecond, cancel)
		if err := c.(brokers.Pinger).Ping(ctx); err == nil {
			t.Error("a frozen server answered")
		}
	}); late > lateAtMost {
		t.Errorf("Ping returned %v after its ctx had ended", late)
	}
}

func TestAGivenClientStaysOpen(t *testing.T) {
	server := testbroker.AnyRedis(t)
	client := goredis.NewClient(&goredis.Options{Addr: server.Addr()})
	defer client.Close()
	c := redis.New(client, redis.PingInterval(time.Second), redis.Buffer(10, 10), redis.MaxBytes(1000))
	r := newRecorder()
	end := subscribe(t, c, r, brokers.Subscription{Name: "s", Channels: []string{"a.*"}})
	if err := c.Publish(t.Context(), messages(1, "a.b")); err != nil {
		t.Fatal(err)
	}
	eventually(t, 5*time.Second, "the message arrives", func() bool { return r.has("body-0") })
	closeConn(t, c)
	if err := end(); err != nil {
		t.Errorf("Subscribe: %v", err)
	}
	if err := client.Ping(t.Context()).Err(); err != nil {
		t.Errorf("the client after Close: %v", err)
	}
	if err := c.Publish(t.Context(), messages(1, "a.b")); !errors.Is(err, brokers.ErrClosed) {
		t.Errorf("Publish after Close: %v", err)
	}
}
