package nats

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"

	"github.com/eventbus-go/eventbus/brokers"
)

func TestFiltersDoNotOverlapAndMatchAllThatThePatternsDo(t *testing.T) {
	for _, tt := range []struct{ patterns, want string }{
		{"a.b", "a.b"},
		{"a.b a.c", "a.b a.c"},
		{"a.* *.b", "*.*"},
		{"o.*.x o.a.*", "o.*.*"},
		{"a.*.> a.b", "a.*.> a.b"},
		{"a.> *.b", "*.>"},
		{"a.*.x a.b.> a.b.y", "a.*.>"},
	} {
		var patterns []brokers.Pattern
		for s := range strings.FieldsSeq(tt.patterns) {
			p, err := brokers.ParsePattern(s)
			if err != nil {
				t.Fatal(err)
			}
			patterns = append(patterns, p)
		}
		got := filters(patterns)
		if strings.Join(got, " ") != tt.want {
			t.Errorf("%s: %v, want %s", tt.patterns, got, tt.want)
		}
		for _, p := range patterns {
			if !slices.ContainsFunc(got, func(s string) bool { return takes(s, p.String()) }) {
				t.Errorf("%s: nothing in %v covers %s", tt.patterns, got, p)
			}
		}
	}
}

func TestADurableNameIsSafeAndTellsGroupsApart(t *testing.T) {
	names := make(map[string]bool)
	for _, group := range []string{"billing", "bill.ing", "bill ing", "bill_ing", "$JS.>", strings.Repeat("x", 300)} {
		for _, channels := range [][]string{{"a.b"}, {"a.b", "a.c"}} {
			n := durableName(group, channels)
			if names[n] || len(n) > 128 || strings.ContainsAny(n, ".*> /\\$") {
				t.Errorf("%q for %q", n, group)
			}
			names[n] = true
		}
	}
}

func TestAReplySubjectOfEitherFormIsRead(t *testing.T) {
	for _, reply := range []string{
		"$JS.ACK.S.c.3.17.20.1700000000000000000.5",
		"$JS.ACK._.hash.S.c.3.17.20.1700000000000000000.5",
		"$JS.ACK.hub.hash.S.c.3.17.20.1700000000000000000.5.random",
	} {
		if got, ok := readOrigin(reply); !ok || got != (origin{place{"S", 17}, 3}) {
			t.Errorf("%s: %+v, %v", reply, got, ok)
		}
	}
	for _, reply := range []string{"", "_INBOX.a.b", "$JS.ACK.S.c", "$JS.ACK.S.c.x.17.20.1.5", "$JS.ACK.S.c.1.1.1.1.1.1"} {
		if got, ok := readOrigin(reply); ok {
			t.Errorf("%q is read as %+v", reply, got)
		}
	}
}

func TestHeadersArriveAsTheyWere(t *testing.T) {
	for _, want := range [][]brokers.Header{
		{{Key: "a", Value: "1"}},
		{{Key: "b", Value: "1"}, {Key: "a", Value: "2"}, {Key: "b", Value: "3"}},
		{{Key: "Nats-Rollup", Value: "all"}, {Key: "nats-expected-stream", Value: "x"}, {Key: "Eb-Type", Value: "evil"}},
		{{Key: "x", Value: " spaces "}, {Key: "x", Value: "=?pct?%20"}, {Key: "x", Value: "ü"}, {Key: "x", Value: ""}},
	} {
		m := brokers.Message{ID: "id", Type: "t", Key: " k\n", Priority: -2, Channel: "c", Headers: want}
		var w headerWriter
		h := w.write(&m, headersAll)
		for name := range h {
			if strings.HasPrefix(strings.ToLower(name), "nats-") {
				t.Errorf("the header %s reaches the server", name)
			}
		}
		got := brokers.Message{Channel: "c"}
		readFields(&got, wireCopy(t, h))
		if got.ID != m.ID || got.Type != m.Type || got.Key != m.Key || got.Priority != m.Priority || !slices.Equal(got.Headers, want) {
			t.Errorf("%+v, want %+v", got, m)
		}
	}
}

// wireCopy is what the other side reads of a header.
func wireCopy(t *testing.T, h natsgo.Header) natsgo.Header {
	t.Helper()
	var b strings.Builder
	b.WriteString("NATS/1.0\r\n")
	for name, values := range h {
		for _, v := range values {
			fmt.Fprintf(&b, "%s: %s\r\n", name, strings.TrimSpace(v))
		}
	}
	b.WriteString("\r\n")
	out, err := natsgo.DecodeHeadersMsg([]byte(b.String()))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestAMessageThatIsTooEarlyWaitsAndItsAttemptsCountFromOne(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, tt := range []struct {
		at        string
		delivered int
		attempt   int
		wait      time.Duration
	}{
		{"", 1, 1, 0},
		{"", 3, 3, 0},
		{"not a time", 2, 2, 0},
		{now.Add(time.Second).Format(time.RFC3339Nano), 1, 1, time.Second},
		{now.Add(-time.Second).Format(time.RFC3339Nano), 2, 1, 0},
		{now.Add(-time.Second).Format(time.RFC3339Nano), 1, 1, 0},
	} {
		h := natsgo.Header{}
		if tt.at != "" {
			h.Set(headerNotBefore, tt.at)
		}
		if attempt, wait := early(h, tt.delivered, now); attempt != tt.attempt || wait != tt.wait {
			t.Errorf("%+v: attempt %d, wait %v", tt, attempt, wait)
		}
	}
}

func TestALeaseThatCameAgainIsNotDeliveredAgain(t *testing.T) {
	l := newLeases()
	from := origin{place{"S", 7}, 1}
	token, _, ok := l.add(from, "first")
	if !ok {
		t.Fatal("the first delivery was refused")
	}
	from.attempt = 2
	if again, _, ok := l.add(from, "second"); ok || again != token {
		t.Fatal("the second delivery was taken for another message")
	}
	if reply, ok := l.end(token); !ok || reply != "second" {
		t.Fatalf("%q, %v, want the newest lease", reply, ok)
	}
	if _, ok := l.end(token); ok {
		t.Fatal("a lease ended twice")
	}
}

func TestAnAckThatRefusesSaysWhetherTheMessageIsToBeSentAgain(t *testing.T) {
	for _, tt := range []struct {
		code, number int
		text         string
		want         brokers.Outcome
	}{
		{429, 10167, "too many requests", brokers.NotSent}, // the stream's inbound queue is full
		{400, 10002, "resource limits exceeded for account", brokers.NotSent},
		{503, 10023, "insufficient resources", brokers.NotSent},
		{503, 10077, "maximum bytes exceeded", brokers.NotSent},
		{409, 10158, "duplicate message id is in process", brokers.Unknown},
		{400, 10054, "message size exceeds maximum allowed", brokers.Rejected},
		{400, 10109, "invalid operation on sealed stream", brokers.Rejected},
	} {
		err := readAck(&natsgo.Msg{Data: fmt.Appendf(nil,
			`{"error":{"code":%d,"err_code":%d,"description":%q},"stream":"S","seq":0}`, tt.code, tt.number, tt.text)})
		if got := outcomeOf(err); got != tt.want {
			t.Errorf("%v: %v, want %v", err, got, tt.want)
		}
		if tt.want != brokers.Rejected && !retryable(err) {
			t.Errorf("%v is to be sent again, and is said not to go away", err)
		}
	}
}

// Suppose the context of a Publish ends after a chunk has its token of the window, and before the confirmations of the chunk are
// awaited: what is awaited after that stayed awaited until the session ended.
func TestAChunkWhoseCallHasEndedIsNotAwaited(t *testing.T) {
	p := &jetPublication{
		conn:    &jet{tokens: make(chan struct{}, 2)},
		session: &session{acks: &acks{chunks: make(map[string]*chunk)}, over: make(chan struct{})},
	}
	p.split([]brokers.Message{{Channel: "a"}})
	c := p.chunks[0]
	p.conn.tokens <- struct{}{}
	if !c.enter(p.conn.tokens) {
		t.Fatal("the chunk was closed")
	}
	p.session.acks.remove(c)
	failed := c.close(t.Context().Err())
	if p.session.acks.add(c) || len(p.session.acks.chunks) != 0 {
		t.Error("confirmations are awaited of a chunk that is over")
	}
	if len(failed) != 1 || failed[0].Outcome != brokers.NotSent || len(p.conn.tokens) != 0 {
		t.Errorf("%v, %d tokens are taken", failed, len(p.conn.tokens))
	}
	if err := p.send(t.Context()); err != errAbandoned || len(p.session.acks.chunks) != 0 || len(p.conn.tokens) != 0 {
		t.Errorf("%v, %d chunks are awaited, %d tokens are taken", err, len(p.session.acks.chunks), len(p.conn.tokens))
	}
}
