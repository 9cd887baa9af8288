package redis

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"

	goredis "github.com/redis/go-redis/v9"

	"github.com/eventbus-go/eventbus/brokers"
)

// An exchange is a pipeline of PUBLISH that is written, and whose replies are read, between go-redis and the socket, while
// go-redis believes that it is one command. go-redis does what is hard about a connection: it finds the server, dials, logs
// in, looks whether the connection is still there, sets the deadlines, and closes it where it broke. Writing a PUBLISH and
// reading its reply is not hard, and through go-redis it was half of what sending one costs the client.
type exchange struct {
	cmd  *goredis.IntCmd // the command that go-redis believes in
	msgs []brokers.Message

	written *lineConn // what the pipeline was written to; nil before
	begun   int       // messages whose bytes may have left
	replies int       // replies that came
	refused []refusal // those of them that are errors, in order

	out, in []byte
}

// A refusal is an error reply.
type refusal struct {
	index int
	err   replyError
}

// standIn is the command as go-redis writes it. No message of ours looks like it: a channel has a name.
const standIn = "*3\r\n$7\r\npublish\r\n$0\r\n\r\n$0\r\n\r\n"

// standInReply is what go-redis is told.
const standInReply = ":0\r\n"

// exchangeBuffer is how much is written at once: from 64 KiB on the rate does not change any more.
const exchangeBuffer = 64 << 10

var errNoExchange = errors.New("the pipeline was not written")

func newExchange() *exchange {
	return &exchange{
		cmd: goredis.NewIntCmd(noContext, "publish", "", ""),
		out: make([]byte, 0, exchangeBuffer), in: make([]byte, 4<<10),
	}
}

// do sends msgs, and returns nil where every one of them was replied to. Then, and where it returns an error, failure says
// what became of each.
func (x *exchange) do(ctx context.Context, client *goredis.Client, msgs []brokers.Message) error {
	x.msgs, x.written, x.begun, x.replies, x.refused = msgs, nil, 0, 0, x.refused[:0]
	x.cmd.SetErr(nil)
	err := client.Process(ctx, x.cmd)
	if err == nil && x.replies < len(msgs) {
		err = errNoExchange
	}
	x.msgs = nil
	return err
}

// failures calls yield for each message, by its index, that the server did not take, and for what reason it did not. ended is
// what do returned.
func (x *exchange) failures(n int, ended error, yield func(i int, o brokers.Outcome, err error)) {
	for _, r := range x.refused {
		yield(r.index, classify(r.err, true), r.err)
	}
	for i := x.replies; i < n; i++ {
		yield(i, classify(ended, i < x.begun), ended)
	}
}

// write writes the pipeline to the connection below c.
func (x *exchange) write(c *lineConn) error {
	x.written = c
	x.out = x.out[:0]
	for i := range x.msgs {
		m := &x.msgs[i]
		if len(x.out)+len(m.Channel)+len(m.Body)+64 > exchangeBuffer {
			if err := x.flush(c.Conn); err != nil {
				return err
			}
		}
		x.begun = i + 1
		x.out = append(x.out, "*3\r\n$7\r\npublish\r\n"...)
		x.out = appendBulkHead(x.out, len(m.Channel))
		x.out = append(append(x.out, m.Channel...), "\r\n"...)
		x.out = appendBulkHead(x.out, len(m.Body))
		if len(m.Body) > exchangeBuffer/2 { // not worth a copy
			if err := x.flush(c.Conn); err != nil {
				return err
			}
			if _, err := c.Conn.Write(m.Body); err != nil {
				return err
			}
		} else {
			x.out = append(x.out, m.Body...)
		}
		x.out = append(x.out, "\r\n"...)
	}
	return x.flush(c.Conn)
}

func (x *exchange) flush(nc net.Conn) error {
	_, err := nc.Write(x.out)
	x.out = x.out[:0]
	return err
}

// appendBulkHead appends what stands before n bytes of a bulk string (RESP,
// https://redis.io/docs/latest/develop/reference/protocol-spec).
func appendBulkHead(b []byte, n int) []byte {
	return append(strconv.AppendInt(append(b, '$'), int64(n), 10), "\r\n"...)
}

// read reads a reply for each message.
func (x *exchange) read(nc net.Conn) error {
	have := 0 // bytes of x.in that are not parsed yet
	for x.replies < len(x.msgs) {
		if have == len(x.in) {
			return errors.New("an error reply is too long")
		}
		n, err := nc.Read(x.in[have:])
		rest, problem := x.parse(x.in[:have+n])
		switch {
		case problem != nil:
			return problem
		case err != nil && x.replies < len(x.msgs):
			return err
		}
		have = copy(x.in, rest)
	}
	if have > 0 {
		return errors.New("more replies than commands")
	}
	return nil
}

// parse takes the replies in b, and returns the beginning of one that is not complete.
func (x *exchange) parse(b []byte) (rest []byte, err error) {
	for len(b) > 0 && x.replies < len(x.msgs) {
		end := bytes.IndexByte(b, '\n')
		if end < 0 {
			return b, nil
		}
		switch line := b[:end+1]; line[0] {
		case ':': // how many subscribers got it
		case '-':
			x.refused = append(x.refused, refusal{x.replies, replyError(bytes.TrimRight(line[1:], "\r\n"))})
		default:
			return nil, fmt.Errorf("the reply to PUBLISH is %.20q", line)
		}
		x.replies++
		b = b[end+1:]
	}
	return b, nil
}
