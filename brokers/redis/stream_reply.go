package redis

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strconv"

	goredis "github.com/redis/go-redis/v9"
)

// The replies that have entries come as the bytes of the protocol and are read here: go-redis would make a map and a
// dozen small objects for each entry (https://redis.io/docs/latest/develop/reference/protocol-spec, RESP2).

// A replyError is an error that the server replied. It satisfies goredis.Error.
type replyError string

func (e replyError) Error() string { return string(e) }

// RedisError marks it as a reply.
func (e replyError) RedisError() {}

// errReply says that a reply is not what the command has.
var errReply = errors.New("the server's reply cannot be read")

// A replyReader reads a reply from its beginning to its end.
type replyReader struct {
	b []byte
}

// array reads the head of an array and returns how many elements follow; -1 where there is none.
func (r *replyReader) array() (int, error) {
	kind, n, err := r.head()
	if err == nil && kind != '*' {
		err = errReply
	}
	return n, err
}

// bulk reads a string; nil where there is none.
func (r *replyReader) bulk() ([]byte, error) {
	kind, n, err := r.head()
	switch {
	case err != nil:
		return nil, err
	case kind == '$' && n < 0:
		return nil, nil
	case kind != '$' || n+2 > len(r.b):
		return nil, errReply
	}
	text := r.b[:n:n]
	r.b = r.b[n+2:]
	return text, nil
}

// head reads a line with a length; -1 stands for none.
func (r *replyReader) head() (kind byte, n int, err error) {
	end := bytes.IndexByte(r.b, '\n')
	if end < 2 {
		return 0, 0, errReply
	}
	line := r.b[:end-1]
	r.b = r.b[end+1:]
	if line[0] == '-' {
		return 0, 0, replyError(line[1:])
	}
	if n, ok := smallNumber(line[1:]); ok {
		return line[0], n, nil
	}
	n, err = strconv.Atoi(string(line[1:]))
	if err != nil || n < -1 {
		return 0, 0, errReply
	}
	return line[0], n, nil
}

// smallNumber reads what most lengths are.
func smallNumber(b []byte) (int, bool) {
	if len(b) == 0 || len(b) > 9 {
		return 0, false
	}
	n := 0
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return n, true
}

// A replyBuffer has the bytes of a reply. It is used again for the next one, where large ones follow each other.
type replyBuffer struct{ b []byte }

// do executes a command and keeps the bytes of its reply. It returns the error that the reply is, if it is one.
func (b *replyBuffer) do(ctx context.Context, client *goredis.Client, args ...any) error {
	b.b = b.b[:0]
	if err := client.Process(ctx, goredis.NewRawWriteToCmd(ctx, b, args...)); err != nil {
		return err
	}
	if len(b.b) > 0 && b.b[0] == '-' {
		line, _, _ := bytes.Cut(b.b[1:], []byte("\r"))
		return replyError(line)
	}
	return nil
}

// Write appends. A server that has become a replica answers READONLY, after which go-redis ends the connection, so that the next
// one finds the new master. It reads replies of this kind without looking at them, so it has to be told.
func (b *replyBuffer) Write(p []byte) (int, error) {
	first := len(b.b) == 0
	b.b = append(b.b, p...)
	if first && len(p) > 0 && p[0] == '-' {
		if err := replyError(p[1:]); goredis.IsReadOnlyError(err) {
			return len(p), err
		}
	}
	return len(p), nil
}

// ReadFrom appends all of r. io.CopyN, which go-redis calls for each string of a reply, says how much that is.
func (b *replyBuffer) ReadFrom(r io.Reader) (int64, error) {
	limited, ok := r.(*io.LimitedReader)
	if !ok {
		n, err := io.Copy(struct{ io.Writer }{b}, r)
		return n, err
	}
	from, size := len(b.b), int(limited.N)
	b.b = slices.Grow(b.b, size)[:from+size]
	n, err := io.ReadFull(r, b.b[from:])
	b.b = b.b[:from+n]
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil // io.CopyN finds out
	}
	return int64(n), err
}

// shrink gives the memory of a large reply back.
func (b *replyBuffer) shrink() {
	if cap(b.b) > keptBuffer {
		b.b = nil
	}
}

// keptBuffer is how large a buffer may be that is kept for the next reply.
const keptBuffer = 1 << 20

// A rawEntry is an entry as it came. Its bytes are those of the reply.
type rawEntry struct {
	id     []byte
	fields [][]byte // name and value in turn; nil where the entry was deleted
}

// entries reads an array of entries and calls f for each. The entry is f's until it returns.
func (r *replyReader) entries(f func(*rawEntry)) error {
	n, err := r.array()
	if err != nil {
		return err
	}
	var e rawEntry
	for range n {
		parts, err := r.array()
		if err != nil {
			return err
		}
		if parts < 0 {
			continue // XCLAIM of an entry that was deleted, before Redis 7
		}
		if parts != 2 {
			return errReply
		}
		if err := r.entry(&e); err != nil {
			return err
		}
		f(&e)
	}
	return nil
}

func (r *replyReader) entry(e *rawEntry) (err error) {
	if e.id, err = r.bulk(); err != nil {
		return err
	}
	n, err := r.array()
	if err != nil {
		return err
	}
	e.fields = e.fields[:0]
	for range n {
		text, err := r.bulk()
		if err != nil {
			return err
		}
		e.fields = append(e.fields, text)
	}
	if len(e.fields)%2 != 0 {
		return errReply
	}
	return nil
}

// streams reads what XREAD and XREADGROUP reply: for each stream its name and its entries.
func (r *replyReader) streams(f func(key []byte, e *rawEntry)) error {
	n, err := r.array()
	if err != nil {
		return err
	}
	for range n {
		if parts, err := r.array(); err != nil || parts != 2 {
			return errors.Join(err, errReply)
		}
		key, err := r.bulk()
		if err != nil {
			return err
		}
		if err := r.entries(func(e *rawEntry) { f(key, e) }); err != nil {
			return err
		}
	}
	return nil
}
