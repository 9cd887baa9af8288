package redis

import (
	"context"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/internal/testbroker"
)

func TestTheMetaOfAMessageIsReadAsItWasWritten(t *testing.T) {
	for _, m := range []brokers.Message{
		{},
		{ID: "id", Type: "user.updated", Key: "user:1", Priority: -3, Time: time.Unix(0, 1).UTC()},
		{Key: "with space 5: and\nlines\x00", NotBefore: time.Unix(-5, 7).UTC()},
		{Headers: []brokers.Header{{Key: "a", Value: ""}, {Key: "a", Value: "2:x"}}},
	} {
		var got brokers.Message
		if err := readMeta(&got, string(appendMeta(nil, &m))); err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("%+v became %+v, %v", m, got, err)
		}
	}
	for _, bad := range []string{"", "2", "1", "1 0:", "1 0: 0: 0: 0: 0:", "1 9:x", "1 0: 0: 0: 3:500 0: 0:", "1 0: 0: 0: 0: 0: 0: 1:a", "1 -1:"} {
		var got brokers.Message
		if readMeta(&got, bad) == nil {
			t.Errorf("%q is read as %+v", bad, got)
		}
	}
}

func FuzzReadMeta(f *testing.F) {
	m := brokers.Message{ID: "id", Key: "k", Priority: 1, Headers: []brokers.Header{{Key: "a", Value: "b"}}}
	f.Add(string(appendMeta(nil, &m)))
	f.Add("1 99999999999999999999:")
	f.Fuzz(func(t *testing.T, text string) {
		var m, again brokers.Message
		if readMeta(&m, text) != nil {
			return
		}
		if err := readMeta(&again, string(appendMeta(nil, &m))); err != nil || !reflect.DeepEqual(m, again) {
			t.Errorf("%q is %+v, then %+v, %v", text, m, again, err)
		}
	})
}

func FuzzReadReply(f *testing.F) {
	f.Add([]byte("*1\r\n*2\r\n$1\r\nk\r\n*1\r\n*2\r\n$3\r\n1-1\r\n*4\r\n$4\r\nbody\r\n$1\r\nx\r\n$1\r\na\r\n$0\r\n\r\n"))
	f.Add([]byte("*-1\r\n"))
	f.Add([]byte("-NOGROUP no\r\n"))
	f.Add([]byte("*1\r\n*2\r\n$3\r\n1-1\r\n*-1\r\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		n := 0
		r := replyReader{raw}
		_ = r.streams(func(_ []byte, e *rawEntry) {
			if n++; n > len(raw) {
				t.Fatal("more entries than bytes")
			}
		})
		r = replyReader{raw}
		var b batch
		reader := entryReader{maxBytes: 10}
		_ = r.entries(func(e *rawEntry) { reader.read(&b, "c", "k", 1, e) })
	})
}

func TestIDsAreOrderedAndHaveNeighbours(t *testing.T) {
	most := ^uint64(0)
	for _, pair := range [][2]entryID{{{1, 0}, {1, 1}}, {{1, most}, {2, 0}}, {{0, 0}, {0, 1}}} {
		low, high := pair[0], pair[1]
		if low.after() != high || high.before() != low || !low.less(high) || high.less(low) {
			t.Errorf("%v and %v are no neighbours", low, high)
		}
		if got, ok := readID(low.String()); !ok || got != low {
			t.Errorf("%v is read as %v", low, got)
		}
	}
	if (entryID{}).before() != (entryID{}) {
		t.Error("there is something before the first")
	}
	for _, bad := range []string{"", "-", "x-1", "1-x", "-1-1"} {
		if id, ok := readID(bad); ok {
			t.Errorf("%q is read as %v", bad, id)
		}
	}
}

func TestTheCutLeavesWhatAGroupNeeds(t *testing.T) {
	now := time.UnixMilli(10_000_000)
	at := func(ago time.Duration) entryID { return idAt(now.Add(-ago)) }
	for name, tt := range map[string]struct {
		state   groupState
		entries int
		want    entryID
	}{
		"nobody reads it: by age":  {groupState{}, 0, at(time.Hour)},
		"all is settled: by age":   {groupState{floors: map[string]entryID{"a": at(0)}}, 0, at(time.Hour)},
		"a group is behind":        {groupState{floors: map[string]entryID{"a": at(0), "b": at(2 * time.Hour)}}, 0, at(2 * time.Hour).after()},
		"a group has read nothing": {groupState{floors: map[string]entryID{"a": {}}}, 0, entryID{0, 1}},
		"too many: as if they came evenly": {
			groupState{floors: map[string]entryID{"a": at(0)}, length: 100, first: at(100 * time.Second), last: at(0)}, 25, at(25 * time.Second),
		},
		"too many, and a group is behind": {
			groupState{floors: map[string]entryID{"a": at(90 * time.Second)}, length: 100, first: at(100 * time.Second), last: at(0)},
			25, at(90 * time.Second).after(),
		},
		"not too many": {groupState{length: 100, first: at(100 * time.Second), last: at(0)}, 100, at(time.Hour)},
	} {
		if got := cutoff(tt.state, now, time.Hour, tt.entries); got != tt.want {
			t.Errorf("%s: %v, wants %v", name, got, tt.want)
		}
	}
}

// A stream is trimmed by nodes of 100 entries.
func TestTrimmingLeavesWhatAGroupNeedsOnTheServer(t *testing.T) {
	server := testbroker.RealRedis(t)
	c := openedStream(t, "redis+stream://"+server.Addr()+"?retention=1ms&prefix=trim:")
	client, ctx := server.Client(), t.Context()
	const channel, key = "a.b", "trim:{a.b}"
	var ids []string
	for i := range 1000 {
		if err := c.Publish(ctx, []brokers.Message{{Channel: channel, Body: fmt.Append(nil, i)}}); err != nil {
			t.Fatal(err)
		}
	}
	list, err := client.XRange(ctx, key, "-", "+").Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range list {
		ids = append(ids, m.ID)
	}
	length := func(want string, ok func(int64) bool) {
		t.Helper()
		if err := c.trim(ctx, channel); err != nil {
			t.Fatal(err)
		}
		if n := client.XLen(ctx, key).Val(); !ok(n) {
			t.Errorf("%d entries are left, wants %s", n, want)
		}
	}
	for _, group := range []string{"quick", "slow"} {
		if err := client.XGroupCreate(ctx, key, group, "0").Err(); err != nil {
			t.Fatal(err)
		}
	}
	client.Do(ctx, "XREADGROUP", "GROUP", "quick", "c", "NOACK", "COUNT", 1000, "STREAMS", key, ">")
	length("all: a group has read nothing", func(n int64) bool { return n == 1000 })
	client.Do(ctx, "XREADGROUP", "GROUP", "slow", "c", "COUNT", 600, "STREAMS", key, ">")
	length("all: a group has settled nothing", func(n int64) bool { return n == 1000 })
	for i, id := range ids[:600] {
		if i != 350 {
			client.XAck(ctx, key, "slow", id)
		}
	}
	length("650 to 750: one of the middle is pending", func(n int64) bool { return n >= 650 && n <= 750 })
	if found, _ := client.XRange(ctx, key, ids[350], ids[350]).Result(); len(found) != 1 {
		t.Error("the pending one is gone")
	}
	client.XGroupDestroy(ctx, key, "slow")
	client.XGroupDestroy(ctx, key, "quick")
	length("next to none: nobody reads it any more", func(n int64) bool { return n <= 100 })
}

func openedStream(t *testing.T, url string) *stream {
	t.Helper()
	conn, err := brokers.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := conn.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return conn.(*stream)
}

func TestAStreamURLThatCannotWorkIsRefused(t *testing.T) {
	for url, want := range map[string]string{
		"redis+stream://h?ping_interval=1s":                `parameter "ping_interval" is unknown`,
		"redis+stream://h?lease=1ms":                       "lease is under",
		"redis+stream://h?prefix=%7B":                      "prefix may have no",
		"redis+stream://h?format=protobuf":                 `format "protobuf" is not linked`,
		"redis+stream://u:secret@h?password_env=HOME":      "given twice",
		"redis+stream://u@h?password_file=/no/such/file":   "password_file: ",
		"redis+stream://u@h?password_env=NO_SUCH_VARIABLE": "has no NO_SUCH_VARIABLE",
		"redis+stream://h1,h2":                             "needs sentinel=",
		"redis+stream://h?sentinel_user=x":                 "need sentinel=",
		"redis+stream://h1:99999,h2:1?sentinel=main":       "not a number from",
		"redis://h?lease=1s":                               `parameter "lease" is unknown`,
		"rediss+stream://h?tls_cert=/no/such/file":         "go together",
	} {
		_, err := brokers.Open(t.Context(), url)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v; wants %q and no password", url, err, want)
		}
	}
}

// A server that turns a connection away answers none of the pipeline's commands, and go-redis leaves them without an error and
// without a value: a password that is changed while a service runs must not be a panic in it.
func TestAPipelineThatGotNoConnectionIsAnError(t *testing.T) {
	server := testbroker.StartRedis(t, testbroker.RedisOptions{Password: "changed"})
	c := openedStream(t, "redis+stream://:before@"+server.Addr())
	if _, err := c.groupsOfAll(t.Context(), []string{"a", "b"}); !hasPrefix(err, refusals) {
		t.Errorf("groupsOfAll: %v", err)
	}
	m := &member{conn: c, client: c.pub, group: "g"}
	m.sources = []*source{m.newSource("a")}
	if looks, _, err := m.look(t.Context(), 1); !hasPrefix(err, refusals) {
		t.Errorf("look: %v, %v", looks, err)
	}
}

// Suppose a master is made a replica while its connections stay: it would answer READONLY on them for ever. The next connection finds
// the new master.
func TestAConnectionToAMasterThatIsNoneAnyMoreIsGivenUp(t *testing.T) {
	server := testbroker.RealRedis(t)
	c := openedStream(t, "redis+stream://"+server.Addr())
	_, own := c.ownLine(time.Second)
	for name, client := range map[string]*goredis.Client{"a line": own, "the pool": c.pub} {
		if err := client.XGroupCreateMkStream(t.Context(), "s", name, "0").Err(); err != nil { // the connection is of a master
			t.Fatal(err)
		}
	}
	if err := server.Client().ReplicaOf(t.Context(), "127.0.0.1", "1").Err(); err != nil {
		t.Fatal(err)
	}
	for name, client := range map[string]*goredis.Client{"a line": own, "the pool": c.pub} {
		for command, write := range map[string]func() ([]byte, error){
			"a command": func() ([]byte, error) { return rawDo(t.Context(), client, "xack", "s", name, "1-1") },
			"a script":  func() ([]byte, error) { return eval(t.Context(), client, finishScript, []string{"s"}, name, "1-1") },
		} {
			before := client.ClientID(t.Context()).Val()
			if _, err := write(); !goredis.IsReadOnlyError(err) || !streamRetryable(err) {
				t.Errorf("%s, %s: %v", name, command, err)
			}
			if after := client.ClientID(t.Context()).Val(); before == 0 || after == before {
				t.Errorf("%s, %s: the connection was %d and is %d", name, command, before, after)
			}
		}
	}
}

// Suppose the keeper waits for a server that does not answer. Only the disconnection ends that, so Close must not wait for it first.
func TestCloseDisconnectsBeforeItWaitsForTheKeeper(t *testing.T) {
	server := testbroker.StartRedis(t, testbroker.RedisOptions{})
	conn, err := brokers.Open(t.Context(), "redis+stream://"+server.Addr())
	if err != nil {
		t.Fatal(err)
	}
	c := conn.(*stream)
	c.keeper.cancel()
	<-c.keeper.done
	done := make(chan struct{})
	c.keeper.done = done
	go func() {
		defer close(done)
		_ = c.pub.BLPop(context.Background(), 0, "nothing").Err() // which waits for ever
	}()
	for c.pub.PoolStats().TotalConns == 0 {
		<-time.After(time.Millisecond)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	closed := make(chan error, 1)
	go func() { closed <- c.Close(ctx) }()
	select {
	case err := <-closed:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(40 * time.Second):
		t.Error("Close waits for the keeper beyond its context")
	}
}

// Suppose a message is not to be delivered before the year 2300, or a handler asks for it again in the farthest future. Neither is now.
func TestWhatIsToWaitForCenturiesIsNotDueAtOnce(t *testing.T) {
	now := time.Now()
	var m brokers.Message
	far := brokers.Message{Time: now, NotBefore: time.Date(2300, 1, 1, 0, 0, 0, 0, time.UTC)}
	if err := readMeta(&m, string(appendMeta(nil, &far))); err != nil || early(&m, now) < 50*365*24*time.Hour {
		t.Errorf("it waits until %v, %v", m.NotBefore, err)
	}
	for _, after := range []time.Duration{1, time.Second, time.Hour, 200 * 365 * 24 * time.Hour, math.MaxInt64 - 1, math.MaxInt64} {
		due := dueIn(strconv.FormatInt(parkedFor(after)+int64(time.Hour/time.Millisecond), 10), now)
		if due.Before(now.Add(min(after, 99*365*24*time.Hour))) {
			t.Errorf("what is to wait for %v is due at %v", after, due)
		}
	}
}
