package redis

import (
	"bytes"
	"hash/maphash"
	"io"
)

// A pushReader reads what a server sends to the connection of a subscription. A body is copied once, from the buffer of the
// connection into memory of the subscription's own, which is not used again; the names of channels are made once, and of a
// body that is too long only the beginning is kept, whatever its size.
type pushReader struct {
	wire            wireReader
	maxBytes        int // longer bodies are cut short; 0 means none is
	globs, channels interned
	bodies          bodyBlock
	hash            maphash.Hash
}

func newPushReader(src io.Reader, maxBytes int) pushReader {
	return pushReader{wire: newWireReader(src), maxBytes: maxBytes}
}

// A push is one thing that the server sent.
type push struct {
	kind    pushKind
	message message // of kind pushMessage
}

type pushKind uint8

const (
	pushNothing      pushKind = iota // nothing that concerns a subscription
	pushStatus                       // the reply to a PING or to CLIENT SETNAME
	pushConfirmation                 // of one channel
	pushMessage
)

// A message is one of Pub/Sub.
type message struct {
	glob    string // of PSUBSCRIBE; empty where it came by SUBSCRIBE
	channel string
	body    []byte
	// size and sum are the length and a hash of a body that was cut short, else 0.
	size int
	sum  uint64
}

// equals reports whether both have the same channel and body.
func (m *message) equals(o *message) bool {
	return m.channel == o.channel && m.size == o.size && m.sum == o.sum && bytes.Equal(m.body, o.body)
}

// next waits for the next thing that the server sends. Its error is a replyError where that is an error; after any other
// one the connection is of no use.
func (p *pushReader) next() (push, error) {
	h, err := p.wire.head()
	if err != nil {
		return push{}, err
	}
	switch h.kind {
	case '*', '>':
		return p.array(h.n)
	case '-':
		return push{}, replyError(h.text)
	case '!':
		text, err := p.wire.appendBulk(nil, max(h.n, 0))
		if err != nil {
			return push{}, err
		}
		return push{}, replyError(text)
	case '|':
		return push{}, p.wire.skip(2 * max(h.n, 0)) // about what comes next
	case '+':
		return push{kind: pushStatus}, nil
	}
	switch {
	case h.aggregate():
		err = p.wire.skip(h.elements())
	case h.bulk() && h.n >= 0:
		err = p.wire.discard(h.n, nil)
	}
	return push{}, err
}

// array reads an array of n elements, of which the first says what the others are.
func (p *pushReader) array(n int) (push, error) {
	if n <= 0 {
		return push{}, nil
	}
	word, err := p.wire.text()
	if err != nil {
		return push{}, err
	}
	var kind pushKind
	switch string(word) {
	case "message":
		if n == 3 {
			return p.message("")
		}
	case "pmessage":
		if n == 4 {
			return p.patternMessage()
		}
	case "subscribe", "psubscribe":
		kind = pushConfirmation
	case "pong":
		kind = pushStatus
	}
	return push{kind: kind}, p.wire.skip(n - 1)
}

func (p *pushReader) patternMessage() (push, error) {
	glob, err := p.wire.text()
	if err != nil {
		return push{}, err
	}
	if len(glob) == 0 {
		return push{}, p.wire.skip(2)
	}
	return p.message(p.globs.of(glob))
}

// message reads a channel and a body. A channel whose name is longer than any of ours is nobody's.
func (p *pushReader) message(glob string) (push, error) {
	channel, err := p.wire.text()
	if err != nil {
		return push{}, err
	}
	if len(channel) == 0 {
		return push{}, p.wire.skip(1)
	}
	m := message{glob: glob, channel: p.channels.of(channel)}
	h, err := p.wire.head()
	switch {
	case err != nil:
		return push{}, err
	case h.kind != '$' || h.n < 0:
		return push{}, errReply
	case p.maxBytes > 0 && h.n > p.maxBytes:
		err = p.beginning(&m, h.n)
	default:
		m.body, err = p.wire.appendBulk(p.bodies.room(h.n), h.n)
	}
	return push{kind: pushMessage, message: m}, err
}

// beginning reads a body of which no more than its beginning is kept.
func (p *pushReader) beginning(m *message, n int) error {
	keep := min(tooLargeKept, p.maxBytes)
	m.body = make([]byte, 0, keep)
	p.hash.Reset()
	err := p.wire.discard(n, func(b []byte) {
		_, _ = p.hash.Write(b) // never fails
		m.body = append(m.body, b[:min(len(b), keep-len(m.body))]...)
	})
	m.size, m.sum = n, p.hash.Sum64()
	return err
}

// interned makes one string of each name, up to a bound.
type interned struct {
	last  string
	known map[string]string
}

// mostNames is how many names are known at most. A service has tens of channels.
const mostNames = 1024

func (t *interned) of(name []byte) string {
	if string(name) == t.last {
		return t.last
	}
	s, known := t.known[string(name)]
	if !known {
		s = string(name)
		if t.known == nil || len(t.known) == mostNames {
			t.known = make(map[string]string)
		}
		t.known[s] = s
	}
	t.last = s
	return s
}

// A bodyBlock is a block of memory that bodies which come one after the other share, so that a body costs no allocation of
// its own. It lives as long as one of them does: it is small, and large bodies have memory of their own.
type bodyBlock struct{ free []byte }

const (
	bodyBlockSize = 4 << 10
	largeBody     = bodyBlockSize / 4
)

// room returns an empty slice with room for n bytes, or for the first of them where they are very many.
func (b *bodyBlock) room(n int) []byte {
	if n > largeBody {
		return make([]byte, 0, min(n, trustedBytes))
	}
	if n > len(b.free) {
		b.free = make([]byte, bodyBlockSize)
	}
	room := b.free[:0:n]
	b.free = b.free[n:]
	return room
}
