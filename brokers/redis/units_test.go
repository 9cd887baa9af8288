package redis

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/internal/overflow"
)

// reply is an error as the client makes it of an error reply.
type reply string

func (r reply) Error() string { return string(r) }
func (reply) RedisError()     {}

func TestAnErrorDecidesWhatBecameOfItsMessage(t *testing.T) {
	alert := &net.OpError{Op: "remote error", Err: errors.New("tls: certificate required")}
	dialErr := &net.OpError{Op: "dial", Err: errors.New("connection refused")}
	for _, c := range []struct {
		err       error
		began     brokers.Outcome // where the command's bytes may have left
		not       brokers.Outcome // where they certainly did not
		retryable bool
	}{
		{nil, brokers.Confirmed, brokers.Confirmed, false},
		{io.EOF, brokers.Unknown, brokers.NotSent, true},
		{os.ErrDeadlineExceeded, brokers.Unknown, brokers.NotSent, true},
		{context.DeadlineExceeded, brokers.Unknown, brokers.NotSent, true},
		{context.Canceled, brokers.Unknown, brokers.NotSent, true},
		{dialErr, brokers.Unknown, brokers.NotSent, true},
		{&dialError{dialErr}, brokers.Unknown, brokers.NotSent, true},
		{goredis.ErrPoolTimeout, brokers.Unknown, brokers.NotSent, true},
		{goredis.ErrClosed, brokers.Unknown, brokers.NotSent, false},
		{errAbandoned, brokers.Unknown, brokers.NotSent, true},
		{&tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}, brokers.Unknown, brokers.NotSent, false},
		{alert, brokers.Unknown, brokers.NotSent, false},
		{reply("ERR unknown command"), brokers.Rejected, brokers.NotSent, false},
		{reply("WRONGTYPE Operation against a key"), brokers.Rejected, brokers.NotSent, false},
		{reply("NOPERM this user has no permissions"), brokers.Rejected, brokers.NotSent, false},
		{reply("NOAUTH Authentication required."), brokers.Rejected, brokers.NotSent, false},
		{fmt.Errorf("failed to authenticate: %w", reply("WRONGPASS invalid")), brokers.Rejected, brokers.NotSent, false},
		{reply("DENIED Redis is running in protected mode"), brokers.Rejected, brokers.NotSent, false},
		{reply("LOADING Redis is loading the dataset in memory"), brokers.NotSent, brokers.NotSent, true},
		{reply("READONLY You can't write against a read only replica."), brokers.NotSent, brokers.NotSent, true},
		{reply("MASTERDOWN Link with MASTER is down"), brokers.NotSent, brokers.NotSent, true},
		{reply("NOREPLICAS Not enough good replicas to write."), brokers.NotSent, brokers.NotSent, true},
		{reply("CLUSTERDOWN Hash slot not served"), brokers.NotSent, brokers.NotSent, true},
		{reply("TRYAGAIN Multiple keys request during rehashing of slot"), brokers.NotSent, brokers.NotSent, true},
		{reply("BUSY Redis is busy running a script."), brokers.NotSent, brokers.NotSent, true},
		{reply("BUSYGROUP Consumer Group name already exists"), brokers.Rejected, brokers.NotSent, false},
		{reply("OOM command not allowed when used memory > 'maxmemory'."), brokers.NotSent, brokers.NotSent, true},
		{reply("MISCONF Redis is configured to save RDB snapshots"), brokers.NotSent, brokers.NotSent, true},
		{reply("ERR max number of clients reached"), brokers.NotSent, brokers.NotSent, true},
		{bodyTooLong{2, 1}, brokers.Unknown, brokers.NotSent, false},
		{brokers.ErrClosed, brokers.Unknown, brokers.NotSent, false},
		{&brokers.CapabilityError{}, brokers.Unknown, brokers.NotSent, false},
	} {
		if got := classify(c.err, true); got != c.began {
			t.Errorf("classify(%v, began) is %v, wants %v", c.err, got, c.began)
		}
		if got := classify(c.err, false); got != c.not {
			t.Errorf("classify(%v, not begun) is %v, wants %v", c.err, got, c.not)
		}
		if got := retryable(c.err); got != c.retryable {
			t.Errorf("retryable(%v) is %v", c.err, got)
		}
		if c.err == nil {
			continue
		}
		batch := &brokers.BatchError{Failed: []brokers.MessageError{{Err: c.err}}}
		if got := retryable(batch); got != c.retryable {
			t.Errorf("retryable of a batch with %v is %v", c.err, got)
		}
	}
}

func TestChannelsBecomeSubscribeAndPsubscribe(t *testing.T) {
	for _, c := range []struct {
		channels, literals, globs []string
	}{
		{[]string{"a.b"}, []string{"a.b"}, nil},
		{[]string{"a.*"}, nil, []string{"a.*"}},
		{[]string{"a.>"}, nil, []string{"a.*"}},
		{[]string{">"}, nil, []string{"*"}},
		{[]string{"*.b.*.>"}, nil, []string{"*.b.*.*"}},
		{[]string{"a.b", "c.*", "d"}, []string{"a.b", "d"}, []string{"c.*"}},
		{[]string{"a.b", "a.b"}, []string{"a.b"}, nil},
		{[]string{"a.b", "a.*", "a.>"}, nil, []string{"a.*"}},
		{[]string{"a.>", "a.b.c"}, nil, []string{"a.*"}},
		{[]string{"a.*", "*.b"}, nil, []string{"a.*", "*.b"}},
	} {
		pl, err := newPlan("name", c.channels)
		if err != nil {
			t.Errorf("%v: %v", c.channels, err)
			continue
		}
		if !reflect.DeepEqual(pl.literals, c.literals) || !reflect.DeepEqual(pl.globs, c.globs) {
			t.Errorf("%v: SUBSCRIBE %v PSUBSCRIBE %v; wants %v and %v", c.channels, pl.literals, pl.globs, c.literals, c.globs)
		}
		if n := len(c.literals) + len(c.globs); pl.confirmations() != n {
			t.Errorf("%v: %d confirmations, wants %d", c.channels, pl.confirmations(), n)
		}
	}
	for _, bad := range [][]string{nil, {""}, {"a.>.b"}, {"A"}, {"a", "b[c]"}} {
		if _, err := newPlan("name", bad); err == nil || !strings.Contains(err.Error(), `"name"`) || retryable(err) {
			t.Errorf("%q: error %v, wants one that names the subscription and is final", bad, err)
		}
	}
}

func TestAGlobMatchesNothingMoreThanItsPatternSays(t *testing.T) {
	if got, want := globOf(`a?.[b]^\.*.>`), `a\?.\[b\]\^\\.*.*`; got != want {
		t.Errorf("%s, wants %s", got, want)
	}
}

func TestAMessageThatComesTwiceIsTheSubscriptionsOnce(t *testing.T) {
	pl, err := newPlan("name", []string{"x.y", "a.*", "*.b", "*.c.>", "x.*.z"})
	if err != nil {
		t.Fatal(err)
	}
	f := filter{plan: pl}
	for i, c := range []struct {
		glob, channel, payload string
		want                   bool
	}{
		{"", "x.y", "1", true},
		{"", "x.y", "1", true}, // published twice
		{"a.*", "a.b", "1", true}, {"*.b", "a.b", "1", false},
		{"a.*", "a.b", "1", true}, {"*.b", "a.b", "1", false}, // published twice
		{"*.b", "a.b", "2", true}, {"a.*", "a.b", "2", false}, // the order is the server's
		{"*.b", "c.b", "2", true},
		{"a.*", "a.b.d", "1", false},                                // the server's * crosses dots
		{"a.*", "a.c.d", "1", true}, {"*.c.*", "a.c.d", "1", false}, // it does for a.*, but *.c.> matches
		{"a.*", "a.c.d", "3", true}, // a server that sends it once
		{"x.*.z", "x.q.z", "1", true}, {"x.*.z", "x.q.r.z", "1", false},
		{"a.*", "a.B", "1", false}, {"a.*", "a.", "1", false}, {"a.*", "a.b\n", "1", false}, // names that are none
	} {
		if got := f.pass(&message{glob: c.glob, channel: c.channel, body: []byte(c.payload)}); got != c.want {
			t.Errorf("%d: pass(%q, %q, %q) is %v", i, c.glob, c.channel, c.payload, got)
		}
	}
}

func TestADelayGrowsAndStaysWithinItsBounds(t *testing.T) {
	if backoff(0, 1) != 0 {
		t.Error("the first attempt waits")
	}
	for attempt, want := range map[int]time.Duration{
		1: 50 * time.Millisecond, 2: 100 * time.Millisecond, 5: 800 * time.Millisecond, 6: time.Second, 10: time.Second,
		64: time.Second, math.MaxInt: time.Second,
	} {
		if got := backoff(attempt, 1); got != want {
			t.Errorf("attempt %d waits up to %v, wants %v", attempt, got, want)
		}
		if backoff(attempt, 0) != 0 {
			t.Errorf("attempt %d has no full jitter", attempt)
		}
	}
}

func TestAPipelineEndsAtItsBounds(t *testing.T) {
	body := func(n int) brokers.Message { return brokers.Message{Body: make([]byte, n)} }
	small := make([]brokers.Message, 3*pipelineCommands/2)
	if got := pipelineEnd(small, 0); got != pipelineCommands {
		t.Errorf("the first of %d ends at %d", len(small), got)
	}
	if got := pipelineEnd(small, pipelineCommands); got != len(small) {
		t.Errorf("the last of %d ends at %d", len(small), got)
	}
	large := []brokers.Message{body(2 * pipelineBytes), body(1), body(pipelineBytes / 2), body(pipelineBytes / 2), body(1)}
	var ends []int
	for from := 0; from < len(large); {
		from = pipelineEnd(large, from)
		ends = append(ends, from)
	}
	if want := []int{1, 3, 5}; !reflect.DeepEqual(ends, want) {
		t.Errorf("%v, wants %v", ends, want)
	}
}

func TestAURLSaysEverything(t *testing.T) {
	u, err := brokers.ParseURL("redis://bob:s%40cret@[::1]/3?dial_timeout=1ms&read_timeout=2ms&write_timeout=3ms" +
		"&pool_size=4&ping_interval=5ms&buffer_messages=6&buffer_bytes=7&client_name=me&max_bytes=8")
	if err != nil {
		t.Fatal(err)
	}
	set, opt, err := readURL(u)
	if err != nil {
		t.Fatal(err)
	}
	want := settings{
		dialTimeout: time.Millisecond, readTimeout: 2 * time.Millisecond, writeTimeout: 3 * time.Millisecond,
		pingInterval: 5 * time.Millisecond, poolSize: 4, clientName: "me", maxBytes: 8, buffer: overflow.Limits{Messages: 6, Bytes: 7},
		stream: streamDefaults(),
	}
	if set != want {
		t.Errorf("%+v, wants %+v", set, want)
	}
	if opt.Addr != "[::1]:6379" || opt.Username != "bob" || opt.Password != "s@cret" || opt.DB != 3 {
		t.Errorf("%+v", opt)
	}
	if opt.MaxRetries != -1 || !opt.ContextTimeoutEnabled || opt.DialerRetries != 1 {
		t.Error("the client repeats by itself")
	}
}

func TestABadURLIsRefusedWithOneClearError(t *testing.T) {
	notPEM := t.TempDir() + "/ca.pem"
	if err := os.WriteFile(notPEM, []byte("not a certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	for url, want := range map[string]string{
		"redis://u:secret@h?nope=1":                          `parameter "nope" is unknown (it takes`,
		"redis://u:secret@h?ping_interval=fast":              `"ping_interval" is not a positive duration`,
		"redis://u:secret@h?pool_size=0":                     `"pool_size" is not an integer from 1`,
		"redis://u:secret@h?tls_ca=/x":                       `parameter "tls_ca" is unknown`,
		"redis://u:secret@h?client_name=a%20b":               "client_name may have",
		"redis://u:secret@h1,h2":                             "it takes one host",
		"redis://u:secret@h/zero":                            "not the number of a database",
		"redis://u:secret@h:70000":                           "port is not a number",
		"rediss://u:secret@h?tls_ca=" + notPEM:               "no certificate in PEM form",
		"rediss://u:secret@h?tls_ca=/does/not/exist":         "no such file",
		"rediss://u:secret@h?tls_cert=" + notPEM:             "tls_cert and tls_key go together",
		"rediss://u:secret@h?tls_cert=/x&tls_key=/does/not/": "tls_cert and tls_key: ",
	} {
		_, err := brokers.Open(t.Context(), url)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v; wants %q and no password", url, err, want)
		}
	}
	for host, want := range map[string]string{
		"": "localhost:6379", "h": "h:6379", "h:1": "h:1", ":1": "localhost:1", "[::1]": "[::1]:6379", "[::1]:2": "[::1]:2",
	} {
		if got, err := address(host, "6379"); err != nil || got != want {
			t.Errorf("address(%q) is %q, %v; wants %q", host, got, err, want)
		}
	}
}
