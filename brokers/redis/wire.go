package redis

import (
	"bytes"
	"fmt"
	"io"
	"slices"
)

const (
	// wireBuffer is how much is asked of a subscription's socket at once.
	wireBuffer = 32 << 10
	// longestText is the longest text of a reply that is read, bodies and errors aside: twenty times a channel's name.
	longestText = 4 << 10
	// longestBulk is the longest string that Redis has (proto-max-bulk-len).
	longestBulk = 512 << 20
	// mostElements bounds what a head may announce. It is only counted, nothing is allocated for it.
	mostElements = 1 << 30
	// trustedBytes is how much is allocated for a body before any of it has come.
	trustedBytes = 1 << 20
)

// A wireReader reads RESP as it comes: version 2, and what version 3 adds
// (https://redis.io/docs/latest/develop/reference/protocol-spec). It has one buffer. What a method returns of it is good
// until the next call.
type wireReader struct {
	src      io.Reader
	buf      []byte
	from, to int // what was read and not taken yet
}

func newWireReader(src io.Reader) wireReader {
	return wireReader{src: src, buf: make([]byte, wireBuffer)}
}

// fill waits for more bytes. It makes room where the buffer is full, by moving what is not taken yet to its beginning.
func (w *wireReader) fill() error {
	if w.from > 0 {
		w.from, w.to = 0, copy(w.buf, w.buf[w.from:w.to])
	}
	if w.to == len(w.buf) {
		return fmt.Errorf("%w: a line is longer than %d bytes", errReply, len(w.buf))
	}
	n, err := readSome(w.src, w.buf[w.to:])
	w.to += n
	return err
}

// readSome reads at least one byte, or returns an error.
func readSome(src io.Reader, b []byte) (int, error) {
	const patience = 100
	for range patience {
		n, err := src.Read(b)
		if n > 0 {
			return n, nil // an error comes again with the next call
		}
		if err != nil {
			return 0, err
		}
	}
	return 0, io.ErrNoProgress
}

// line takes a line, without its end.
func (w *wireReader) line() ([]byte, error) {
	searched := 0
	for {
		have := w.buf[w.from:w.to]
		if i := bytes.IndexByte(have[searched:], '\n'); i >= 0 {
			end := searched + i
			w.from += end + 1
			if end < 2 || have[end-1] != '\r' {
				return nil, fmt.Errorf("%w: a line is %.20q", errReply, have[:end+1])
			}
			return have[:end-1], nil
		}
		searched = len(have)
		if err := w.fill(); err != nil {
			return nil, err
		}
	}
}

// A head is the line that a value begins with.
type head struct {
	kind byte
	n    int    // the length that it announces, -1 for none; 0 where it is the whole value
	text []byte // what is after kind
}

// aggregate reports whether n elements follow, or pairs of them.
func (h head) aggregate() bool {
	switch h.kind {
	case '*', '>', '~', '%', '|':
		return true
	}
	return false
}

// bulk reports whether n bytes and the end of a line follow.
func (h head) bulk() bool { return h.kind == '$' || h.kind == '=' || h.kind == '!' }

// whole reports whether nothing follows.
func (h head) whole() bool {
	switch h.kind {
	case '+', '-', ':', '_', '#', ',', '(':
		return true
	}
	return false
}

// elements is how many values follow that belong to this one. An attribute is followed by what it is about, too.
func (h head) elements() int {
	switch {
	case h.n <= 0 && h.kind != '|':
		return 0
	case h.kind == '%':
		return 2 * h.n
	case h.kind == '|':
		return 2*max(h.n, 0) + 1
	default:
		return h.n
	}
}

// head takes the beginning of a value.
func (w *wireReader) head() (head, error) {
	line, err := w.line()
	if err != nil {
		return head{}, err
	}
	h := head{kind: line[0], text: line[1:]}
	most := mostElements
	switch {
	case h.bulk():
		most = longestBulk
	case h.aggregate():
	case h.whole():
		return h, nil
	default:
		return h, fmt.Errorf("%w: a value begins with %.20q", errReply, line)
	}
	if string(h.text) == "-1" {
		h.n = -1
		return h, nil
	}
	n, ok := smallNumber(h.text)
	if !ok || n > most {
		return h, fmt.Errorf("%w: a length is %.20q", errReply, line)
	}
	h.n = n
	return h, nil
}

// skip walks over n values.
func (w *wireReader) skip(n int) error {
	for left := int64(n); left > 0; {
		h, err := w.head()
		if err != nil {
			return err
		}
		left--
		switch {
		case h.aggregate():
			left += int64(h.elements())
		case h.bulk() && h.n >= 0:
			if err := w.discard(h.n, nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// text takes a value that is a text of no more than longestText bytes. It walks over any other value, and returns nil.
func (w *wireReader) text() ([]byte, error) {
	h, err := w.head()
	switch {
	case err != nil:
		return nil, err
	case h.kind == '+':
		return h.text, nil
	case h.aggregate():
		return nil, w.skip(h.elements())
	case !h.bulk() || h.n < 0:
		return nil, nil
	case h.n > longestText:
		return nil, w.discard(h.n, nil)
	}
	for w.to-w.from < h.n+2 {
		if err := w.fill(); err != nil {
			return nil, err
		}
	}
	text := w.buf[w.from : w.from+h.n : w.from+h.n]
	w.from += h.n
	return text, w.end()
}

// end takes the end of the line after a bulk string. It moves nothing within the buffer where that is there already.
func (w *wireReader) end() error {
	for w.to-w.from < 2 {
		if err := w.fill(); err != nil {
			return err
		}
	}
	if w.buf[w.from] != '\r' || w.buf[w.from+1] != '\n' {
		return fmt.Errorf("%w: a string is longer than it says", errReply)
	}
	w.from += 2
	return nil
}

// discard walks over n bytes of a bulk string and the end of its line, and shows them to see, if there is one.
func (w *wireReader) discard(n int, see func([]byte)) error {
	for n > 0 {
		if w.from == w.to {
			if err := w.fill(); err != nil {
				return err
			}
		}
		k := min(n, w.to-w.from)
		if see != nil {
			see(w.buf[w.from : w.from+k])
		}
		w.from += k
		n -= k
	}
	return w.end()
}

// appendBulk appends the n bytes of a bulk string to dst, and takes the end of its line. dst grows as they come where
// its capacity is too small.
func (w *wireReader) appendBulk(dst []byte, n int) ([]byte, error) {
	for n > 0 {
		var err error
		k := min(n, w.to-w.from)
		dst = append(dst, w.buf[w.from:w.from+k]...)
		w.from += k
		switch n -= k; {
		case n == 0:
		case n < len(w.buf):
			err = w.fill()
		default: // not worth a copy
			dst = slices.Grow(dst, min(n, trustedBytes))
			k, err = readSome(w.src, dst[len(dst):min(cap(dst), len(dst)+n)])
			dst = dst[:len(dst)+k]
			n -= k
		}
		if err != nil {
			return nil, err
		}
	}
	return dst, w.end()
}
