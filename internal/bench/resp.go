package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"
)

// A rawConn publishes to Redis with nothing between the bytes and the socket: commands that were written down before,
// appended to a buffer by one goroutine, while another one reads and counts the replies. It is the most that a client
// can do over one connection.
type rawConn struct {
	conn    net.Conn
	out     *bufio.Writer
	replies chan replies // one value, when the reader has ended
}

type replies struct {
	n   int
	err error
}

// rawBuffer is as large as one write should be: from 64 KiB on the rate does not change any more.
const rawBuffer = 64 << 10

func dialRaw(addr string) (*rawConn, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	c := &rawConn{conn: conn, out: bufio.NewWriterSize(conn, rawBuffer), replies: make(chan replies, 1)}
	go c.read()
	return c, nil
}

// frame is the commands that publish body on channels.
func frame(body []byte, channels ...string) []byte {
	var b []byte
	for _, ch := range channels {
		b = append(b, "*3\r\n$7\r\nPUBLISH\r\n$"...)
		b = strconv.AppendInt(b, int64(len(ch)), 10)
		b = append(append(append(b, "\r\n"...), ch...), "\r\n$"...)
		b = strconv.AppendInt(b, int64(len(body)), 10)
		b = append(append(append(b, "\r\n"...), body...), "\r\n"...)
	}
	return b
}

func frames(bodies [][]byte, channels ...string) [][]byte {
	var all [][]byte
	for _, body := range bodies {
		all = append(all, frame(body, channels...))
	}
	return all
}

// command is one command as bytes.
func command(args ...string) []byte {
	b := fmt.Appendf(nil, "*%d\r\n", len(args))
	for _, a := range args {
		b = fmt.Appendf(b, "$%d\r\n%s\r\n", len(a), a)
	}
	return b
}

// errorIn returns where an error reply begins, a "-" at the start of a line, or -1.
func errorIn(b []byte, lineStart bool) int {
	if lineStart && len(b) > 0 && b[0] == '-' {
		return 0
	}
	if i := bytes.Index(b, []byte("\n-")); i >= 0 {
		return i + 1
	}
	return -1
}

// read counts the lines of replies, of which ":0\r\n" has one and "$3\r\n1-0\r\n" has two, until the server disconnects, as
// finish asks it to.
func (c *rawConn) read() {
	buf := make([]byte, rawBuffer)
	n, lineStart := 0, true
	for {
		got, err := c.conn.Read(buf)
		if i := errorIn(buf[:got], lineStart); i >= 0 {
			err = fmt.Errorf("redis answers %q", buf[i:min(got, i+100)])
		}
		lineStart = got > 0 && buf[got-1] == '\n'
		n += bytes.Count(buf[:got], []byte{'\n'})
		if err != nil {
			c.replies <- replies{n, err}
			return
		}
	}
}

// finish waits until everything that was written is answered, with the given number of replies, and disconnects.
func (c *rawConn) finish(want int) error {
	defer c.conn.Close()
	if _, err := c.out.Write(command("QUIT")); err != nil { // not inline: miniredis takes arrays only
		return err
	}
	if err := c.out.Flush(); err != nil {
		return err
	}
	if err := c.conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	r := <-c.replies
	if r.n != want+1 || !errors.Is(r.err, io.EOF) { // the last reply is that of QUIT
		return fmt.Errorf("raw connection: %d of %d replies: %w", r.n, want+1, r.err)
	}
	return nil
}
