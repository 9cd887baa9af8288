package redis

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/eventbus-go/eventbus/internal/testbroker"
)

// aged puts entries into a stream that are two days old, and one of now.
func aged(t *testing.T, client *goredis.Client, key string) {
	t.Helper()
	old := time.Now().Add(-48 * time.Hour).UnixMilli()
	for i := range 3 {
		args := &goredis.XAddArgs{Stream: key, ID: fmt.Sprintf("%d-%d", old, i), Values: []any{"body", "x"}}
		if err := client.XAdd(t.Context(), args).Err(); err != nil {
			t.Fatal(err)
		}
	}
	if err := client.XAdd(t.Context(), &goredis.XAddArgs{Stream: key, Values: []any{"body", "x"}}).Err(); err != nil {
		t.Fatal(err)
	}
}

func groupNames(t *testing.T, client *goredis.Client, key string) string {
	t.Helper()
	list, err := client.XInfoGroups(t.Context(), key).Result()
	if err != nil {
		t.Fatal(err)
	}
	names := make([]string, len(list))
	for i := range list {
		names[i] = list[i].Name
	}
	return strings.Join(names, " ")
}

func TestAGroupThatKeepsOldMessagesIsWarnedOf(t *testing.T) {
	server := testbroker.RealRedis(t)
	c := openedStream(t, "redis+stream://"+server.Addr()+"?prefix=pin:")
	client, ctx := server.Client(), t.Context()
	const key = "pin:{a.b}"
	aged(t, client, key)
	for _, group := range []string{"idle", "quiet"} {
		if err := client.XGroupCreate(ctx, key, group, "0").Err(); err != nil {
			t.Fatal(err)
		}
	}
	client.Do(ctx, "XREADGROUP", "GROUP", "quiet", "c", "NOACK", "COUNT", 3, "STREAMS", key, ">") // but for the last, of now
	warned := func() string {
		t.Helper()
		if err := c.trim(ctx, "a.b"); err != nil {
			t.Fatal(err)
		}
		return strings.Join(only(c.Warnings(), "a.b"), "\n")
	}
	if text := warned(); strings.Count(text, "has not settled") != 1 || !strings.Contains(text, "XGROUP DESTROY pin:{a.b} idle,") {
		t.Errorf("warnings: %q", text)
	}
	if names := groupNames(t, client, key); names != "idle quiet" {
		t.Errorf("without forget the groups are %q", names)
	}
	client.XGroupDestroy(ctx, key, "idle")
	if text := warned(); text != "" {
		t.Errorf("after the group was destroyed: %q", text)
	}
}

func only(list []string, part string) (out []string) {
	for _, s := range list {
		if strings.Contains(s, part) {
			out = append(out, s)
		}
	}
	return out
}

func TestAGroupThatNobodyReadsForIsForgottenWhereThatIsAskedFor(t *testing.T) {
	server := testbroker.RealRedis(t)
	c := openedStream(t, "redis+stream://"+server.Addr()+"?prefix=forget:&forget=1h")
	client, ctx := server.Client(), t.Context()
	const key = "forget:{a.b}"
	aged(t, client, key)
	for _, group := range []string{"alive", "gone"} {
		if err := client.XGroupCreate(ctx, key, group, "0").Err(); err != nil {
			t.Fatal(err)
		}
	}
	client.Do(ctx, "XREADGROUP", "GROUP", "alive", "c", "COUNT", 1, "STREAMS", key, ">")
	parked := c.set.stream.parkedKey("a.b", "gone")
	client.XAdd(ctx, &goredis.XAddArgs{Stream: parked, Values: []any{"body", "x"}})
	for range 2 {
		if err := c.trim(context.WithoutCancel(ctx), "a.b"); err != nil {
			t.Fatal(err)
		}
	}
	if names := groupNames(t, client, key); names != "alive" {
		t.Errorf("the groups are %q: wants the one that is read for", names)
	}
	if n := client.Exists(ctx, parked).Val(); n != 0 {
		t.Error("what was parked for the group is still there")
	}
	if text := strings.Join(c.Warnings(), "\n"); !strings.Contains(text, `the group "gone" of channel a.b was removed`) ||
		!strings.Contains(text, `the group "alive" of channel a.b has not settled`) {
		t.Errorf("warnings: %q", text)
	}
}

// Suppose the server's clock jumps ahead by more than forget, and the keeper looks before the group's consumer asks again.
func TestAJumpOfTheClockForgetsNoGroupThatIsReadFor(t *testing.T) {
	server := testbroker.StartRedis(t, testbroker.RedisOptions{Clock: true})
	c := openedStream(t, "redis+stream://"+server.Addr()+"?prefix=forget:&forget=1h")
	client, ctx := server.Client(), t.Context()
	const key = "forget:{a.b}"
	trim := func() {
		t.Helper()
		if err := c.trim(context.WithoutCancel(ctx), "a.b"); err != nil {
			t.Fatal(err)
		}
	}
	aged(t, client, key)
	if err := client.XGroupCreate(ctx, key, "alive", "0").Err(); err != nil {
		t.Fatal(err)
	}
	ask := func() { client.Do(ctx, "XREADGROUP", "GROUP", "alive", "c", "COUNT", 1, "STREAMS", key, ">") }
	ask()
	if err := server.SetClock(2 * time.Hour); err != nil {
		t.Fatal(err)
	}
	trim()
	ask()
	trim()
	if names := groupNames(t, client, key); names != "alive" {
		t.Errorf("the groups are %q: wants the one that is read for", names)
	}
}

func TestForgetIsNoShorterThanADeployment(t *testing.T) {
	s := streamDefaults()
	s.forget = 59 * time.Minute
	if err := s.check(); err == nil {
		t.Error("59 minutes are taken")
	}
	s.forget = time.Hour
	if err := s.check(); err != nil {
		t.Error(err)
	}
}

// Suppose a service reads hundreds of channels: a round trip or three for each of them every second would be most of what it
// does.
func TestTheGroupsOfManyChannelsAreAskedForTogether(t *testing.T) {
	server := testbroker.RealRedis(t)
	c := openedStream(t, "redis+stream://"+server.Addr()+"?prefix=many:")
	client, ctx := server.Client(), t.Context()
	var keys []string
	for i := range 2*askAtOnce + 1 {
		keys = append(keys, fmt.Sprintf("many:{c%d}", i))
		if err := client.XGroupCreateMkStream(ctx, keys[i], "g", "0").Err(); err != nil {
			t.Fatal(err)
		}
	}
	client.Del(ctx, keys[7])
	if _, err := c.groupsOfAll(ctx, keys[:1]); err != nil { // connects
		t.Fatal(err)
	}
	trips := &roundTrips{}
	c.pub.AddHook(trips)
	list, err := c.groupsOfAll(ctx, keys)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range list {
		if _, ok := r.state.floors["g"]; ok == (i == 7) || (r.err == nil) == (i == 7) {
			t.Errorf("%s: %v, %v", keys[i], r.state.floors, r.err)
		}
	}
	if trips.n > 6 {
		t.Errorf("%d round trips for %d channels, wants two for each %d", trips.n, len(keys), askAtOnce)
	}
}

// roundTrips counts what is sent by itself. It is used by one goroutine.
type roundTrips struct{ n int }

func (*roundTrips) DialHook(next goredis.DialHook) goredis.DialHook { return next }

func (h *roundTrips) ProcessHook(next goredis.ProcessHook) goredis.ProcessHook {
	return func(ctx context.Context, cmd goredis.Cmder) error { h.n++; return next(ctx, cmd) }
}

func (h *roundTrips) ProcessPipelineHook(next goredis.ProcessPipelineHook) goredis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []goredis.Cmder) error { h.n++; return next(ctx, cmds) }
}
