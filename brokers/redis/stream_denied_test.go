package redis

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/internal/testbroker"
)

// A sinkFor is a sink that counts, and settles nothing.
type sinkFor struct {
	ready chan struct{}
	got   chan string // bodies
}

func newSinkFor() sinkFor { return sinkFor{make(chan struct{}), make(chan string, 64)} }

func (s sinkFor) Ready()          { close(s.ready) }
func (s sinkFor) Gap(brokers.Gap) {}
func (s sinkFor) Deliver(batch []brokers.Delivery) {
	for _, d := range batch {
		s.got <- string(d.Body)
		if d.Settler != nil {
			_ = d.Settler.Settle(context.Background(), []brokers.Settlement{{Token: d.Token}})
		}
	}
}

// subscribed starts a subscription, waits until it is ready, and ends it with the test.
func subscribed(t *testing.T, c brokers.Conn, s brokers.Subscription) sinkFor {
	t.Helper()
	sink := newSinkFor()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Subscribe(ctx, s, sink) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Subscribe: %v", err)
		}
	})
	await1(t, "the subscription is ready", sink.ready)
	return sink
}

func await1[T any](t *testing.T, what string, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(30 * time.Second):
		t.Fatalf("not after 30 s: %s", what)
	}
	return v
}

// until waits until ok returns true.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); <-time.After(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not after 30 s: %s", what)
		}
	}
}

// fullDisk has a server deny what it writes, as one whose disk is full does: its snapshots cannot be stored. free ends that.
func fullDisk(t *testing.T, server *testbroker.Redis) (free func()) {
	t.Helper()
	client, ctx := server.Client(), context.Background()
	if err := client.ConfigSet(ctx, "save", "3600 1000000").Err(); err != nil {
		t.Fatal(err)
	}
	dir := client.ConfigGet(ctx, "dir").Val()["dir"]
	inTheWay := filepath.Join(dir, client.ConfigGet(ctx, "dbfilename").Val()["dbfilename"])
	if err := errors.Join(os.Mkdir(inTheWay, 0o700), os.WriteFile(filepath.Join(inTheWay, "x"), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	save := func() string {
		// One that is under way is refused, which the next look finds.
		_ = client.BgSave(ctx).Err()
		until(t, "the snapshot ends", func() bool {
			return strings.Contains(client.Info(ctx, "persistence").Val(), "rdb_bgsave_in_progress:0")
		})
		return infoValue(client.Info(ctx, "persistence").Val(), "rdb_last_bgsave_status")
	}
	until(t, "a snapshot fails", func() bool { return save() == "err" })
	return func() {
		if err := os.RemoveAll(inTheWay); err != nil {
			t.Fatal(err)
		}
		until(t, "a snapshot is stored", func() bool { return save() == "ok" })
	}
}

func warns(c brokers.Conn, part string) bool {
	return strings.Contains(strings.Join(c.(brokers.Warner).Warnings(), "\n"), part)
}

// Suppose an account may do all but trim, or the server's disk is full: the streams grow, and nobody would know why.
func TestAStreamThatIsNotTrimmedIsWarnedOfUntilItIs(t *testing.T) {
	t.Parallel()
	server := testbroker.RealRedis(t)
	admin, ctx := server.Client(), t.Context()
	rights := func(trim string) {
		t.Helper()
		if err := admin.Do(ctx, "ACL", "SETUSER", "keeper", "on", ">s3cret", "+@all", trim, "~*", "&*").Err(); err != nil {
			t.Fatal(err)
		}
	}
	rights("-xtrim")
	c := openedStream(t, "redis+stream://keeper:s3cret@"+server.Addr()+"?prefix=keep:&max_entries=10")
	for _, channel := range []string{"a.b", "c.d"} {
		if err := c.Publish(ctx, []brokers.Message{{Channel: channel, Body: []byte("x")}}); err != nil {
			t.Fatal(err)
		}
	}
	c.trimAll(ctx, []string{"a.b", "c.d"})
	if !warns(c, "channel a.b is not trimmed: NOPERM") {
		t.Errorf("an account that may not trim: %q", c.Warnings())
	}
	rights("+xtrim")
	c.trimAll(ctx, []string{"a.b", "c.d"})
	if warns(c, "not trimmed") {
		t.Errorf("it is over, and the warnings are %q", c.Warnings())
	}
	free := fullDisk(t, server)
	c.trimAll(ctx, []string{"a.b", "c.d"})
	if !warns(c, "channel a.b is not trimmed: MISCONF") {
		t.Errorf("a server whose disk is full: %q", c.Warnings())
	}
	free()
	c.trimAll(ctx, []string{"a.b", "c.d"})
	if warns(c, "not trimmed") {
		t.Errorf("it is over, and the warnings are %q", c.Warnings())
	}
}

// Suppose a service starts while its server is full: its channel is not put into the set that patterns are matched with, and who
// reads by a pattern would never hear of it.
func TestAChannelThatWasRefusedIsAnnouncedOnceTheServerHasRoom(t *testing.T) {
	t.Parallel()
	server := testbroker.RealRedis(t)
	client, ctx := server.Client(), t.Context()
	if err := client.XGroupCreateMkStream(ctx, "eventbus:{a.b}", "g", "0").Err(); err != nil {
		t.Fatal(err)
	}
	limit := func(bytes string) {
		t.Helper()
		if err := client.ConfigSet(ctx, "maxmemory", bytes).Err(); err != nil {
			t.Fatal(err)
		}
	}
	limit("1")
	c := openedStream(t, "redis+stream://"+server.Addr())
	subscribed(t, c, brokers.Subscription{Name: "s", Group: "g", Channels: []string{"a.b"}})
	if !warns(c, "channels are not found by patterns: OOM") {
		t.Errorf("warnings of a full server: %q", c.Warnings())
	}
	limit("0")
	until(t, "the channel is announced", func() bool { return client.SIsMember(ctx, "eventbus:channels", "a.b").Val() })
	until(t, "the warning is taken back", func() bool { return !warns(c, "channels are not found") })
}

// Suppose a server cannot store its snapshots: it denies PING, too, and publishes all the same.
func TestAServerWhoseDiskIsFullCarriesMessagesOfPubSub(t *testing.T) {
	t.Parallel()
	server := testbroker.RealRedis(t)
	defer fullDisk(t, server)()
	if err := server.Client().Ping(t.Context()).Err(); !hasPrefix(err, []string{"MISCONF"}) {
		t.Fatalf("the server answers a PING with %v", err)
	}
	c, err := brokers.Open(t.Context(), "redis://"+server.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(context.Background()) })
	sink := subscribed(t, c, brokers.Subscription{Name: "s", Channels: []string{"a.b"}})
	if err := c.Publish(t.Context(), []brokers.Message{{Channel: "a.b", Body: []byte("x")}}); err != nil {
		t.Fatal(err)
	}
	await1(t, "the message arrives", sink.got)
	if err := c.(brokers.Pinger).Ping(t.Context()); err != nil {
		t.Errorf("Ping: %v", err)
	}
}

// Streams are written to by who reads them, too: nothing is handed out, and the operator hears why until it is.
func TestAServerWhoseDiskIsFullIsWarnedOfByItsStreams(t *testing.T) {
	t.Parallel()
	server := testbroker.RealRedis(t)
	if err := server.Client().XGroupCreateMkStream(t.Context(), "eventbus:{a.b}", "g", "0").Err(); err != nil {
		t.Fatal(err)
	}
	free := fullDisk(t, server)
	c := openedStream(t, "redis+stream://"+server.Addr())
	sink := subscribed(t, c, brokers.Subscription{Name: "s", Group: "g", Channels: []string{"a.b"}})
	alone := subscribed(t, c, brokers.Subscription{Name: "alone", Channels: []string{"a.b"}})
	until(t, "it is warned of", func() bool { return warns(c, "hands out nothing to the group g: MISCONF") })
	if err := c.Ping(t.Context()); err == nil || !strings.Contains(err.Error(), "MISCONF") {
		t.Errorf("Ping: %v", err)
	}
	msgs := []brokers.Message{{Channel: "a.b", Body: []byte("x")}}
	var failed *brokers.BatchError
	var op *net.OpError
	err := c.Publish(t.Context(), msgs)
	if !errors.As(err, &failed) || failed.Failed[0].Outcome != brokers.NotSent || errors.As(err, &op) ||
		!strings.Contains(failed.Failed[0].Err.Error(), "MISCONF") || !c.Retryable(failed.Failed[0].Err) {
		t.Errorf("Publish: %v", err)
	}
	free()
	if err := c.Publish(t.Context(), msgs); err != nil {
		t.Fatal(err)
	}
	await1(t, "the message arrives", sink.got)
	await1(t, "the message arrives without a group", alone.got)
	until(t, "the warning is taken back", func() bool { return !warns(c, "hands out nothing") })
}
