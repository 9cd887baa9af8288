package redis

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

// heard reads everything that the server sends, and returns what each push says and the error that ended it.
func heard(src io.Reader, maxBytes int) (said []string, end error) {
	p := newPushReader(src, maxBytes)
	for {
		got, err := p.next()
		switch {
		case isReply(err):
			said = append(said, "error "+err.Error())
		case err != nil:
			return said, err
		default:
			said = append(said, got.String())
		}
	}
}

func (p push) String() string {
	m := &p.message
	switch p.kind {
	case pushMessage:
		if m.size > 0 {
			return fmt.Sprintf("%s|%s|%q of %d", m.glob, m.channel, m.body, m.size)
		}
		return fmt.Sprintf("%s|%s|%q", m.glob, m.channel, m.body)
	case pushConfirmation:
		return "confirmation"
	case pushStatus:
		return "status"
	default:
		return "nothing"
	}
}

// sent writes a push as a server does: an array of bulk strings.
func sent(parts ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(parts))
	for _, p := range parts {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(p), p)
	}
	return b.String()
}

func as3(resp2 string) string { return ">" + resp2[1:] }

var longText = strings.Repeat("x", longestText+1)

var spoken = []struct{ about, wire, want string }{
	{"a message", sent("message", "a.b", "{}"), `|a.b|"{}"`},
	{"one by a pattern", sent("pmessage", "a.*", "a.b", "{}"), `a.*|a.b|"{}"`},
	{"RESP3's kind of array", as3(sent("message", "a.b", "{}")), `|a.b|"{}"`},
	{"an empty body", sent("message", "a.b", ""), `|a.b|""`},
	{"a body of the protocol's own characters", sent("message", "a.b", "\r\n$5\r\n\x00\xff"), `|a.b|"\r\n$5\r\n\x00\xff"`},
	{"a body that is too long", sent("message", "a.b", strings.Repeat("0123456789", 5)), `|a.b|"01234567890123456789012345678901" of 50`},
	{"a confirmation", "*3\r\n$9\r\nsubscribe\r\n$3\r\na.b\r\n:1\r\n", "confirmation"},
	{"one of a pattern", "*3\r\n$10\r\npsubscribe\r\n$3\r\na.*\r\n:1\r\n", "confirmation"},
	{"the reply to CLIENT SETNAME", "+OK\r\n", "status"},
	{"a pong among messages", sent("pong", ""), "status"},
	{"a pong before them", "+PONG\r\n", "status"},
	{"an error", "-NOPERM no\r\n", "error NOPERM no"},
	{"RESP3's kind of error", "!9\r\nNOPERM no\r\n", "error NOPERM no"},
	{"the end of a subscription", "*3\r\n$11\r\nunsubscribe\r\n$-1\r\n:0\r\n", "nothing"},
	{"a channel whose name is too long", sent("message", longText, "{}"), "nothing"},
	{"one by a pattern", sent("pmessage", "a.*", longText, "{}"), "nothing"},
	{"a pattern that is too long", sent("pmessage", longText, "a.b", "{}"), "nothing"},
	{"a channel without a name", sent("message", "", "{}"), "nothing"},
	{"a channel that is none", "*3\r\n$7\r\nmessage\r\n*2\r\n:1\r\n:2\r\n$2\r\n{}\r\n", "nothing"},
	{"a message of another shape", sent("message", "a.b"), "nothing"},
	{"another push", as3(sent("invalidate", "key")), "nothing"},
	{"one with values of all kinds", ">8\r\n+new\r\n%1\r\n+k\r\n~1\r\n#t\r\n,1.5\r\n(9\r\n_\r\n=7\r\ntxt:abc\r\n$-1\r\n*-1\r\n", "nothing"},
	{"no array", "*-1\r\n", "nothing"},
	{"an empty one", "*0\r\n", "nothing"},
	{"no string", "$-1\r\n", "nothing"},
	{"a string", "$2\r\nhi\r\n", "nothing"},
	{"a number", ":1\r\n", "nothing"},
	{"a map", "%1\r\n+k\r\n+v\r\n", "nothing"},
	{"what is said about the next push", "|1\r\n+ttl\r\n:1\r\n", "nothing"},
}

func TestAPushIsReadWhateverTheSizeOfItsPieces(t *testing.T) {
	var wire strings.Builder
	var want []string
	for range 3 { // the second and third time over what the first one has left in the buffer
		for _, s := range spoken {
			wire.WriteString(s.wire)
			want = append(want, s.want)
		}
	}
	for name, src := range map[string]io.Reader{
		"whole":         strings.NewReader(wire.String()),
		"half":          iotest.HalfReader(strings.NewReader(wire.String())),
		"byte by byte":  iotest.OneByteReader(strings.NewReader(wire.String())),
		"data with EOF": iotest.DataErrReader(strings.NewReader(wire.String())),
	} {
		got, err := heard(src, 32)
		if err != io.EOF {
			t.Errorf("%s: it ended with %v after %d pushes", name, err, len(got))
		}
		for i := range min(len(got), len(want)) {
			if got[i] != want[i] {
				t.Errorf("%s: %s is %.80s, wants %.80s", name, spoken[i%len(spoken)].about, got[i], want[i])
			}
		}
		if len(got) != len(want) {
			t.Errorf("%s: %d pushes, wants %d", name, len(got), len(want))
		}
	}
}

func TestAPushThatIsCutOffIsNone(t *testing.T) {
	for _, s := range spoken {
		for end := range s.wire {
			got, err := heard(strings.NewReader(s.wire[:end]), 32)
			if len(got) > 0 || err != io.EOF {
				t.Errorf("%s, its first %d bytes: %v, %v", s.about, end, got, err)
			}
		}
	}
}

func TestWhatIsNotTheProtocolEndsTheConnection(t *testing.T) {
	for _, wire := range []string{
		"\r\n", "\n", "*1\n", "hello\r\n", "*x\r\n", "*\r\n", "*-2\r\n", "*+1\r\n", "$1e3\r\n", "*99999999999999999999\r\n",
		"*1073741825\r\n", "$536870913\r\n", "$2\r\nabc\r\n", "$?\r\n", "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n:1\r\n",
		"*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$-1\r\n", "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$2\r\nabc\r\n",
		"-" + strings.Repeat("x", wireBuffer) + "\r\n", ".\r\n",
	} {
		if got, err := heard(strings.NewReader(wire), 0); len(got) > 0 || !errors.Is(err, errReply) {
			t.Errorf("%.40q: %v, %v", wire, got, err)
		}
	}
	if _, err := heard(stuck{}, 0); err != io.ErrNoProgress {
		t.Errorf("a connection that yields nothing: %v", err)
	}
}

// stuck reads nothing and no error.
type stuck struct{}

func (stuck) Read([]byte) (int, error) { return 0, nil }

func TestBodiesOfAllSizesAreTheirOwn(t *testing.T) {
	var wire strings.Builder
	var want []string
	for _, n := range []int{
		0, 1, 400, 400, largeBody, largeBody + 1, bodyBlockSize, wireBuffer - 1, wireBuffer, 3*wireBuffer + 7, trustedBytes + wireBuffer + 1,
		2*trustedBytes + 5, 3, 16 << 20,
	} {
		want = append(want, strings.Repeat(string(rune('a'+len(want))), n))
		wire.WriteString(sent("message", "a.b", want[len(want)-1]))
	}
	p := newPushReader(iotest.HalfReader(strings.NewReader(wire.String())), 0)
	var got [][]byte
	for range want {
		one, err := p.next()
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, one.message.body)
	}
	for i, body := range got {
		_ = append(body, "overwrites the next one"...)
		if i+1 < len(got) && string(got[i+1]) != want[i+1] || string(body) != want[i] {
			t.Errorf("the body of %d bytes is another one", len(want[i]))
		}
	}
}

// endless yields a head and then zeros for ever.
type endless struct{ head *strings.Reader }

func (e endless) Read(b []byte) (int, error) {
	if e.head.Len() > 0 {
		return e.head.Read(b)
	}
	clear(b)
	return len(b), nil
}

func TestABodyThatIsTooLongCostsItsBeginning(t *testing.T) {
	const size = 100 << 20
	p := newPushReader(endless{strings.NewReader("*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$104857600\r\n")}, 1<<20)
	grown := allocated(func() {
		if _, err := p.next(); !errors.Is(err, errReply) { // no end of a line follows the zeros
			t.Error(err)
		}
	})
	if grown > size/100 {
		t.Errorf("a body of %d bytes, of which %d are kept, costs %d", size, tooLargeKept, grown)
	}
	wire := "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$536870912\r\n"
	grown = allocated(func() { _, _ = heard(strings.NewReader(wire), 0) })
	if grown > 4*trustedBytes {
		t.Errorf("a body that was announced and never came costs %d bytes", grown)
	}
}

func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func TestNamesAreMadeOnceAndBounded(t *testing.T) {
	var known interned
	for i := range 10 * mostNames {
		if got := known.of(fmt.Append(nil, i)); got != fmt.Sprint(i) {
			t.Fatalf("%d is %q", i, got)
		}
	}
	if n := len(known.known); n > mostNames {
		t.Errorf("%d names are known", n)
	}
	a, b := []byte("a"), []byte("b")
	if n := testing.AllocsPerRun(100, func() { known.of(a); known.of(b) }); n > 0 {
		t.Errorf("a name that is known costs %v allocations", n)
	}
}

func TestBodiesThatWereCutShortAreTheSameIfAllOfThemIs(t *testing.T) {
	long := strings.Repeat("x", 2*tooLargeKept)
	p := newPushReader(strings.NewReader(sent("message", "a", long+"1")+sent("message", "a", long+"1")+sent("message", "a", long+"2")), 100)
	var got []message
	for range 3 {
		one, err := p.next()
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, one.message)
	}
	if !got[0].equals(&got[1]) || got[1].equals(&got[2]) || !bytes.Equal(got[1].body, got[2].body) {
		t.Error("bodies are compared by their beginnings")
	}
}

func FuzzPushReader(f *testing.F) {
	for _, s := range spoken {
		f.Add([]byte(s.wire), 32)
	}
	f.Add([]byte(sent("message", "a", strings.Repeat("x", 2*wireBuffer))), 0)
	f.Add([]byte("$536870912\r\nabc"), 0)
	f.Add([]byte("*1073741824\r\n*1073741824\r\n|1073741824\r\n"), 0)
	f.Add([]byte("-"+strings.Repeat("x", wireBuffer)), 0)
	f.Fuzz(func(t *testing.T, wire []byte, maxBytes int) {
		said, end := heard(bytes.NewReader(wire), maxBytes)
		slowly, slowEnd := heard(iotest.OneByteReader(bytes.NewReader(wire)), maxBytes)
		if !slices.Equal(said, slowly) || end.Error() != slowEnd.Error() {
			t.Errorf("at once %q, %v; byte by byte %q, %v", said, end, slowly, slowEnd)
		}
	})
}
