package redis

import (
	"bytes"
	"io"
	"net"
	"reflect"
	"strings"
	"testing"

	"github.com/eventbus-go/eventbus/brokers"
)

// A wire is a connection that yields what it was given, in pieces, and keeps what is written.
type wire struct {
	net.Conn
	pieces  []string
	written bytes.Buffer
	room    int // bytes that it takes before it breaks; 0 means all
}

func (w *wire) Read(b []byte) (int, error) {
	if len(w.pieces) == 0 {
		return 0, io.EOF
	}
	n := copy(b, w.pieces[0])
	if w.pieces[0] = w.pieces[0][n:]; w.pieces[0] == "" {
		w.pieces = w.pieces[1:]
	}
	return n, nil
}

func (w *wire) Write(b []byte) (int, error) {
	if w.room > 0 && w.written.Len()+len(b) > w.room {
		return 0, io.ErrClosedPipe
	}
	return w.written.Write(b)
}

// talk has msgs exchanged over w, as go-redis would with its stand-in, and returns what became of each message.
func talk(t *testing.T, w *wire, msgs []brokers.Message) (map[int]brokers.Outcome, error) {
	t.Helper()
	x := newExchange()
	x.msgs = msgs
	c := &lineConn{Conn: w, line: &line{exchange: x}}
	_, err := c.Write([]byte(standIn))
	if err == nil {
		b := make([]byte, 100)
		var n int
		if n, err = c.Read(b); err == nil && string(b[:n]) != standInReply {
			t.Errorf("go-redis reads %q", b[:n])
		}
	}
	out := make(map[int]brokers.Outcome)
	x.failures(len(msgs), err, func(i int, o brokers.Outcome, _ error) { out[i] = o })
	return out, err
}

func bodies(sizes ...int) []brokers.Message {
	var msgs []brokers.Message
	for _, n := range sizes {
		msgs = append(msgs, brokers.Message{Channel: "a.b", Body: bytes.Repeat([]byte{'x'}, n)})
	}
	return msgs
}

func TestAnExchangeWritesEachMessageAsOnePublish(t *testing.T) {
	msgs := bodies(2, 0, exchangeBuffer/2+1, 40<<10, 40<<10, 1)
	w := &wire{pieces: []string{":0\r\n:1\r\n:0\r\n:12\r\n:0\r\n:0\r\n"}}
	if out, err := talk(t, w, msgs); err != nil || len(out) > 0 {
		t.Errorf("%v: %v", out, err)
	}
	var want strings.Builder
	for _, m := range msgs {
		want.Write(appendBulkHead([]byte("*3\r\n$7\r\npublish\r\n$3\r\na.b\r\n"), len(m.Body)))
		want.Write(append(m.Body, "\r\n"...))
	}
	if w.written.String() != want.String() {
		t.Errorf("%d bytes were written, wants %d, or other ones", w.written.Len(), want.Len())
	}
}

func TestAnExchangeKnowsWhatBecameOfEachMessage(t *testing.T) {
	const rejected, notSent, unknown = brokers.Rejected, brokers.NotSent, brokers.Unknown
	for name, c := range map[string]struct {
		pieces []string
		room   int
		want   map[int]brokers.Outcome
		whole  bool // the connection stays good
	}{
		"replies in pieces":      {pieces: []string{":", "0\r", "\n:0\r\n:", "17\r\n"}, whole: true},
		"a refusal":              {[]string{":0\r\n-NOPERM no\r\n:0\r\n"}, 0, map[int]brokers.Outcome{1: rejected}, true},
		"a refusal in pieces":    {[]string{"-NOP", "ERM no\r", "\n:0\r\n:0\r\n"}, 0, map[int]brokers.Outcome{0: rejected}, true},
		"loading":                {[]string{"-LOADING\r\n:0\r\n:0\r\n"}, 0, map[int]brokers.Outcome{0: notSent}, true},
		"cut off":                {[]string{":0\r\n:"}, 0, map[int]brokers.Outcome{1: unknown, 2: unknown}, false},
		"cut off after refusals": {[]string{":0\r\n-ERR\r\n"}, 0, map[int]brokers.Outcome{1: rejected, 2: unknown}, false},
		"no reply to PUBLISH":    {[]string{":0\r\n$2\r\nok\r\n"}, 0, map[int]brokers.Outcome{1: unknown, 2: unknown}, false},
		"an empty line":          {[]string{":0\r\n\r\n"}, 0, map[int]brokers.Outcome{1: unknown, 2: unknown}, false},
		"an endless line":        {[]string{"-" + strings.Repeat("x", 8<<10)}, 0, map[int]brokers.Outcome{0: unknown, 1: unknown, 2: unknown}, false},
		"too many replies":       {[]string{":0\r\n:0\r\n:0\r\n:0\r\n"}, 0, nil, false},
		"a write that fails":     {nil, 40 << 10, map[int]brokers.Outcome{0: unknown, 1: unknown, 2: notSent}, false},
	} {
		out, err := talk(t, &wire{pieces: c.pieces, room: c.room}, bodies(1, 40<<10, 1))
		if c.want == nil {
			c.want = map[int]brokers.Outcome{}
		}
		if !reflect.DeepEqual(out, c.want) || (err == nil) != c.whole {
			t.Errorf("%s: %v, %v; wants %v", name, out, err, c.want)
		}
	}
}

func TestALineWithoutAnExchangeWritesAndReadsWhatItIsGiven(t *testing.T) {
	w := &wire{pieces: []string{"+OK\r\n"}}
	c := &lineConn{Conn: w, line: &line{}}
	b := make([]byte, 10)
	if _, err := c.Write([]byte(standIn)); err != nil || w.written.String() != standIn {
		t.Errorf("%q: %v", w.written.String(), err)
	}
	if n, err := c.Read(b); err != nil || string(b[:n]) != "+OK\r\n" {
		t.Errorf("%q: %v", b[:n], err)
	}
	x := newExchange()
	x.msgs = bodies(1)
	c = &lineConn{Conn: &wire{pieces: []string{"+OK\r\n"}}, line: &line{exchange: x}}
	if _, err := c.Write([]byte("*1\r\n$4\r\nping\r\n")); err != nil || x.written != nil {
		t.Errorf("a handshake was taken for the pipeline: %v", err)
	}
	if n, err := c.Read(b); err != nil || string(b[:n]) != "+OK\r\n" {
		t.Errorf("the reply to a handshake: %q, %v", b[:n], err)
	}
}
