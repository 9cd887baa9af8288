package redis_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/internal/testbroker"
)

func TestAnIdleSubscriptionStaysWhatItIs(t *testing.T) {
	t.Parallel()
	server := testbroker.RealRedis(t)
	// The handshake's read_timeout ends long before the first PING, and two intervals are longer than a busy machine rests.
	c := open(t, server.URL()+"?read_timeout=1s&ping_interval=4s")
	r := newRecorder()
	subscribe(t, c, r, brokers.Subscription{Name: "idle", Channels: []string{"a.b", "c.*"}})
	start := calls(t, server, "ping")
	eventually(t, 30*time.Second, "a ping", func() bool { return calls(t, server, "ping") >= start+1 })
	if gaps := r.gaps(); len(gaps) > 0 {
		t.Errorf("an idle subscription reported %+v", gaps)
	}
	list, err := server.Do(t.Context(), "CLIENT", "LIST", "TYPE", "pubsub")
	if err != nil || !strings.Contains(list.(string), "name=idle") {
		t.Errorf("CLIENT LIST: %v, %v", list, err)
	}
}

func TestAChannelThatMatchesTwiceIsDeliveredOnce(t *testing.T) {
	server := testbroker.AnyRedis(t)
	c := open(t, server.URL())
	r := newRecorder()
	subscribe(t, c, r, brokers.Subscription{Name: "s", Channels: []string{"a.*", "*.b", "x.y", "*.c.>"}})
	for _, ch := range []string{"a.b", "x.y", "a.c.d", "a.b.c", "A.b", "a.z"} {
		inject(t, server, ch, ch)
	}
	// miniredis keeps the order of literal channels and that of patterns, but not between the two.
	inject(t, server, "x.y", "end")
	inject(t, server, "a.end", "end")
	eventually(t, 5*time.Second, "the last messages arrive", func() bool { return strings.Count(bodies(r), "end") == 2 })
	got := strings.Fields(bodies(r))
	slices.Sort(got)
	if want := []string{"a.b", "a.c.d", "a.z", "end", "end", "x.y"}; !slices.Equal(got, want) {
		t.Errorf("%v, wants %v", got, want)
	}
}

// bodies returns what was delivered, separated by spaces.
func bodies(r *recorder) string {
	var b strings.Builder
	for _, d := range r.deliveries() {
		b.WriteString(string(d.Body) + " ")
	}
	return b.String()
}

func TestAGroupIsRefusedWithTheRemedy(t *testing.T) {
	c := open(t, "redis://localhost:1")
	s := brokers.Subscription{Name: "billing", Channels: []string{"a"}, Group: "g"}
	err := c.Subscribe(t.Context(), s, newRecorder())
	var ce *brokers.CapabilityError
	if !errors.As(err, &ce) || c.Retryable(err) {
		t.Fatalf("%#v", err)
	}
	if ce.Subscription != "billing" || ce.Needs != "consumer groups" || ce.Broker != "redis" {
		t.Errorf("%#v", err)
	}
}

func TestAKilledServerIsHeardAgainWithinFiveSecondsOfItsReturn(t *testing.T) {
	t.Parallel()
	server := testbroker.AnyRedis(t)
	c := open(t, server.URL())
	r := newRecorder()
	subscribe(t, c, r, brokers.Subscription{Name: "s", Channels: []string{"a.*"}})
	inject(t, server, "a.b", "before")
	eventually(t, 5*time.Second, "the first message arrives", func() bool { return r.has("before") })
	killed := time.Now()
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	select { // long enough for some attempts, so that the delays have grown
	case <-time.After(1500 * time.Millisecond):
	case <-t.Context().Done():
	}
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	back := time.Now()
	eventually(t, 5*time.Second, "a gap", func() bool { return len(r.gaps()) > 0 })
	t.Logf("resumed %v after the server's return", time.Since(back))
	inject(t, server, "a.b", "after")
	eventually(t, 5*time.Second, "the second message arrives", func() bool { return r.has("after") })
	gaps := r.gaps()
	g := gaps[0]
	if len(gaps) != 1 || g.Reason != brokers.GapReconnect || g.Missed != -1 || g.Err == nil {
		t.Errorf("%+v", gaps)
	}
	if g.Since.After(killed.Add(time.Second)) || g.Until.Before(back.Add(-time.Second)) || g.Since.After(g.Until) {
		t.Errorf("the gap is from %v to %v; the server was away from %v to %v", g.Since, g.Until, killed, back)
	}
}

func TestAHalfOpenConnectionIsNoticedWithinTenSeconds(t *testing.T) {
	t.Parallel()
	server := testbroker.RealRedis(t)
	proxy := testbroker.StartProxy(t, server.Addr())
	c := open(t, proxy.URL())
	r := newRecorder()
	subscribe(t, c, r, brokers.Subscription{Name: "s", Channels: []string{"a.b"}})
	proxy.HalfOpen()
	cut := time.Now()
	if inject(t, server, "a.b", "lost") != 1 {
		t.Fatal("the server noticed")
	}
	eventually(t, 10*time.Second, "a gap", func() bool { return len(r.gaps()) > 0 })
	t.Logf("resubscribed %v after the connection went dead", time.Since(cut))
	inject(t, server, "a.b", "after")
	eventually(t, 5*time.Second, "messages arrive again", func() bool { return r.has("after") })
	g := r.gaps()[0]
	if g.Since.After(cut) || g.Reason != brokers.GapReconnect || r.has("lost") {
		t.Errorf("%+v", g)
	}
}

func TestWhatASlowSinkMissesIsCountedExactly(t *testing.T) {
	for _, bounds := range []string{"buffer_messages=100", "buffer_bytes=2000"} {
		t.Run(bounds, func(t *testing.T) {
			c := open(t, testbroker.AnyRedis(t).URL()+"?"+bounds)
			r := newRecorder()
			r.Block = make(chan struct{})
			subscribe(t, c, r, brokers.Subscription{Name: "slow", Channels: []string{"a.b"}})
			other := newRecorder()
			subscribe(t, c, other, brokers.Subscription{Name: "quick", Channels: []string{"a.b"}})
			const n = 5000
			for from, msgs := 0, messages(n, "a.b"); from < n; from += 50 { // what fits into quick's buffer at a time
				if err := c.Publish(t.Context(), msgs[from:from+50]); err != nil {
					t.Fatal(err)
				}
				eventually(t, 10*time.Second, "the quick one has it", func() bool { return len(other.deliveries()) == from+50 })
			}
			close(r.Block)
			if err := c.Publish(t.Context(), []brokers.Message{message("a.b", "end")}); err != nil {
				t.Fatal(err)
			}
			total := func() (sum int64) {
				for _, g := range r.gaps() {
					if g.Reason != brokers.GapOverflow || g.Missed <= 0 {
						t.Fatalf("%+v", g)
					}
					sum += g.Missed
				}
				return sum + int64(len(r.deliveries()))
			}
			eventually(t, 5*time.Second, "delivered + missed = published", func() bool { return total() >= n+1 })
			if total() != n+1 || len(r.gaps()) == 0 {
				t.Errorf("%d delivered + missed of %d published, %d gaps", total(), n+1, len(r.gaps()))
			}
			inOrder(t, r)
		})
	}
}

// inOrder checks that each gap stands exactly where its messages are missing.
func inOrder(t *testing.T, r *recorder) {
	t.Helper()
	next := 0
	for _, s := range r.Seen() {
		switch s := s.(type) {
		case brokers.Gap:
			next += int(s.Missed)
		case brokers.Delivery:
			if want := fmt.Sprintf("body-%d", next); string(s.Body) != want && string(s.Body) != "end" {
				t.Fatalf("%s stands where %s was expected", s.Body, want)
			}
			next++
		}
	}
}

func TestABodyOverTheSubscriptionsLimitIsCutAndMarked(t *testing.T) {
	server := testbroker.AnyRedis(t)
	c := open(t, server.URL())
	r := newRecorder()
	subscribe(t, c, r, brokers.Subscription{Name: "s", Channels: []string{"a.b"}, MaxBytes: 5000})
	long := strings.Repeat("0123456789", 1_600_000) // 16 MB
	inject(t, server, "a.b", strings.Repeat("x", 5000))
	inject(t, server, "a.b", long)
	inject(t, server, "a.b", "end")
	eventually(t, 10*time.Second, "the last message arrives", func() bool { return r.has("end") })
	d := r.deliveries()
	if len(d) != 3 || d[0].Malformed != "" || d[0].Size != 0 || len(d[0].Body) != 5000 {
		t.Fatalf("%d deliveries", len(d))
	}
	cut := d[1]
	if cut.Malformed != brokers.ReasonTooLarge || cut.Size != len(long) || string(cut.Body) != long[:4096] {
		t.Errorf("malformed %q, size %d, %d bytes kept", cut.Malformed, cut.Size, len(cut.Body))
	}
	if cap(cut.Body) > 8192 {
		t.Errorf("%d bytes are held", cap(cut.Body))
	}
}

func TestABodyOf100MBCutsUsOffAndDoesNoOtherHarm(t *testing.T) {
	server := testbroker.RealRedis(t)
	c := open(t, server.URL())
	r := newRecorder()
	subscribe(t, c, r, brokers.Subscription{Name: "s", Channels: []string{"a.b"}, MaxBytes: 1 << 20})
	before := heap()
	inject(t, server, "a.b", make([]byte, 100<<20))
	start := time.Now()
	eventually(t, 5*time.Second, "a gap", func() bool { return len(r.gaps()) > 0 })
	t.Logf("resubscribed after %v", time.Since(start))
	inject(t, server, "a.b", "after")
	eventually(t, 5*time.Second, "messages arrive again", func() bool { return r.has("after") })
	if grown := int64(heap()) - int64(before); grown > 16<<20 {
		t.Errorf("the heap has grown by %d MiB", grown>>20)
	}
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func TestARefusalAfterAGoodStartIsAGapAndTriedAgain(t *testing.T) {
	server := testbroker.RealRedis(t)
	setUser := func(args ...any) {
		t.Helper()
		if _, err := server.Do(t.Context(), append([]any{"ACL", "SETUSER", "bob"}, args...)...); err != nil {
			t.Fatal(err)
		}
	}
	setUser("on", ">secret", "+@all", "allchannels")
	c := open(t, strings.Replace(server.URL(), "://", "://bob:secret@", 1))
	r := newRecorder()
	subscribe(t, c, r, brokers.Subscription{Name: "s", Channels: []string{"a.b"}})
	setUser("resetpass", ">other")
	if _, err := server.Do(t.Context(), "CLIENT", "KILL", "TYPE", "pubsub"); err != nil {
		t.Fatal(err)
	}
	eventually(t, 5*time.Second, "the refusal is reported", func() bool { return len(r.gaps()) > 0 })
	if err := r.gaps()[0].Err; err == nil || !strings.Contains(err.Error(), "WRONGPASS") {
		t.Errorf("the gap's error is %v", err)
	}
	setUser(">secret")
	eventually(t, 5*time.Second, "the rest of the gap", func() bool { return len(r.gaps()) == 2 })
	if g := r.gaps(); !g[1].Since.Equal(g[0].Until) {
		t.Errorf("between the gaps are %v", g[1].Since.Sub(g[0].Until))
	}
	inject(t, server, "a.b", "after")
	eventually(t, 5*time.Second, "messages arrive again", func() bool { return r.has("after") })
}

func TestAServerThatIsDownAtTheStartIsWaitedFor(t *testing.T) {
	server := testbroker.AnyRedis(t)
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	c := open(t, server.URL())
	r := newRecorder()
	done := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { done <- c.Subscribe(ctx, brokers.Subscription{Name: "s", Channels: []string{"a.b"}}, r) }()
	if err := c.Publish(t.Context(), messages(1, "a.b")); count(outcomes(t, 1, err), brokers.NotSent) != 1 {
		t.Errorf("Publish without a server: %v", err)
	}
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	select {
	case <-r.IsReady():
	case err := <-done:
		t.Fatal(err)
	case <-time.After(within(5 * time.Second)):
		t.Fatalf("not ready %v after the server's start", within(5*time.Second))
	}
	if len(r.gaps()) > 0 {
		t.Errorf("a gap before the subscription was ready: %+v", r.gaps())
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestTLSWithACAOfOnesOwn(t *testing.T) {
	server := testbroker.StartRedis(t, testbroker.RedisOptions{TLS: true, Password: "secret"})
	files := server.TLS()
	c := open(t, server.TLSURL()+"?tls_ca="+files.CA+"&tls_cert="+files.ClientCert+"&tls_key="+files.ClientKey)
	r := newRecorder()
	subscribe(t, c, r, brokers.Subscription{Name: "s", Channels: []string{"a.*"}})
	if err := c.Publish(t.Context(), messages(1000, "a.b")); err != nil {
		t.Fatal(err)
	}
	eventually(t, 5*time.Second, "all messages arrive", func() bool { return len(r.deliveries()) == 1000 })

	stranger := open(t, server.TLSURL())
	err := stranger.Subscribe(t.Context(), brokers.Subscription{Name: "s", Channels: []string{"a"}}, newRecorder())
	if err == nil || !strings.Contains(err.Error(), "certificate") || stranger.Retryable(err) {
		t.Errorf("Subscribe without the CA: %v", err)
	}
	err = stranger.Publish(t.Context(), messages(2, "a"))
	if count(outcomes(t, 2, err), brokers.NotSent) != 2 || stranger.Retryable(err) {
		t.Errorf("Publish without the CA: %v", err)
	}
}

func TestCloseReturnsByItsDeadlineWhereTheSinkNeverDoes(t *testing.T) {
	c := open(t, testbroker.AnyRedis(t).URL())
	r := newRecorder()
	r.Block = make(chan struct{})
	end := subscribe(t, c, r, brokers.Subscription{Name: "s", Channels: []string{"a.b"}})
	after := newRecorder() // the server sends to it what it sent to the other one before
	subscribe(t, c, after, brokers.Subscription{Name: "after", Channels: []string{"a.b"}})
	if err := c.Publish(t.Context(), messages(2000, "a.b")); err != nil {
		t.Fatal(err)
	}
	eventually(t, 5*time.Second, "all messages arrive", func() bool { return len(after.deliveries()) == 2000 })
	// Suppose the reader of the first subscription has read only what is in the sink: then nothing is there to be counted
	// as missed. Each further round trip lets it read on.
	for i := range 50 {
		if err := c.Publish(t.Context(), messages(1, "a.b")); err != nil {
			t.Fatal(err)
		}
		eventually(t, 5*time.Second, "the next message arrives", func() bool { return len(after.deliveries()) == 2001+i })
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	start := time.Now()
	if err := c.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Close: %v", err)
	}
	if d := time.Since(start); d > within(5*time.Second) {
		t.Errorf("Close took %v", d)
	}
	close(r.Block)
	if err := end(); err != nil {
		t.Errorf("Subscribe: %v", err)
	}
	missed := 0
	for _, g := range r.gaps() {
		missed += int(g.Missed)
	}
	if n := len(r.deliveries()); n > 512 || missed == 0 {
		t.Errorf("%d delivered, %d missed; wants the one batch that was in the sink, and the rest counted", n, missed)
	}
}

func TestAThousandOpensAndClosesLeaveNothingBehind(t *testing.T) {
	server := testbroker.AnyRedis(t)
	inject(t, server, "a.b", "warm up")
	ignore := goleak.IgnoreCurrent()
	before := descriptors(t)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	var all []brokers.Conn // kept, since the garbage collector would close their sockets for them
	defer func() { runtime.KeepAlive(all) }()
	for i := range 1000 {
		c, err := brokers.Open(ctx, server.URL())
		all = append(all, c)
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		r := newRecorder()
		if i%4 == 0 { // a subscription, a publication, one that is closed while it connects, and nothing at all
			go func() { done <- c.Subscribe(ctx, brokers.Subscription{Name: "s", Channels: []string{"a.b"}}, r) }()
			<-r.IsReady()
		} else {
			done <- nil
		}
		switch i % 4 {
		case 0, 1:
			if err := c.Publish(ctx, messages(1, "a.b")); err != nil {
				t.Fatal(err)
			}
		case 2:
			short, stop := context.WithCancel(ctx)
			go stop()
			_ = c.Publish(short, messages(1, "a.b"))
		}
		if err := c.Close(ctx); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	var leaked error
	for deadline := time.Now().Add(30 * time.Second); ; { // Find alone waits for less than half a second
		if leaked = goleak.Find(ignore); leaked == nil || time.Now().After(deadline) {
			break
		}
	}
	if leaked != nil {
		t.Error(leaked)
	}
	eventually(t, 5*time.Second, fmt.Sprintf("%d descriptors as before", before), func() bool {
		return descriptors(t) <= before+2 // the runtime and the server in this process may hold a few more
	})
}

// descriptors is how many files and sockets this process has open; 0 where nobody can tell.
func descriptors(tb testing.TB) int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(entries)
}
