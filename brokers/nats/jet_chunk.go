package nats

import (
	"errors"
	"strconv"
	"strings"
	"sync"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/eventbus-go/eventbus/brokers"
)

// What is known of a message of a chunk.
const (
	notBegun = iota
	begun
	taken
	refusedByServer
)

// A chunk is a part of a batch that is sent and confirmed together.
type chunk struct {
	name string
	from int // index of its first message in the batch
	msgs []brokers.Message
	done chan struct{} // closed once every message has an answer

	removed bool // guarded by acks.mu: no confirmation is awaited any more

	mu        sync.Mutex
	window    chan struct{} // where the chunk has a token of it
	states    []uint8
	failed    []brokers.MessageError
	remaining int
	abandoned bool
}

// settle notes the answer for one message.
func (c *chunk) settle(i int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if i < 0 || i >= len(c.states) || c.states[i] > begun || c.abandoned {
		return
	}
	c.states[i] = taken
	if err != nil {
		c.states[i] = refusedByServer
		c.failed = append(c.failed, brokers.MessageError{Index: c.from + i, Outcome: outcomeOf(err), Err: err})
	}
	if c.remaining--; c.remaining == 0 {
		close(c.done)
		c.release()
	}
}

// enter notes that the chunk has a token of the window, and gives it back at once where the chunk was closed meanwhile.
func (c *chunk) enter(window chan struct{}) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.window = window
	if c.abandoned {
		c.release()
	}
	return !c.abandoned
}

// release gives the token back; c.mu is held.
func (c *chunk) release() {
	if c.window != nil {
		<-c.window
		c.window = nil
	}
}

// outcomeOf says what became of a message that the server, or the client, refused.
func outcomeOf(err error) brokers.Outcome {
	var api *jetstream.APIError
	switch {
	case errors.As(err, &api) && noRoomYet(api):
		return brokers.NotSent
	case errors.As(err, &api) && api.ErrorCode == errInProcess:
		return brokers.Unknown // the first of the two may yet fail
	case errors.As(err, &api) && api.Code >= 400 && api.Code < 500, rejects(err):
		return brokers.Rejected
	case errors.As(err, new(badChannel)), errors.As(err, new(bodyTooLong)),
		errors.As(err, new(*brokers.HeaderError)), refused(err):
		return brokers.Rejected
	}
	return brokers.NotSent
}

// begin reports whether message i may be given to the client.
func (c *chunk) begin(i int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.abandoned {
		return false
	}
	c.states[i] = begun
	return true
}

// close ends the chunk and returns the outcomes of what was not taken. No message is given to the client any more.
func (c *chunk) close(err error) []brokers.MessageError {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.abandoned = true
	c.release()
	for i, state := range c.states {
		switch state {
		case notBegun:
			c.failed = append(c.failed, brokers.MessageError{Index: c.from + i, Outcome: brokers.NotSent, Err: err})
		case begun:
			c.failed = append(c.failed, brokers.MessageError{Index: c.from + i, Outcome: brokers.Unknown, Err: err})
		}
	}
	return c.failed
}

// deny settles the messages on a channel.
func (c *chunk) deny(channel string, err error) {
	for i := range c.msgs {
		if c.msgs[i].Channel == channel {
			c.settle(i, err)
		}
	}
}

// names are the reply subjects and the message ids of a chunk, cut out of one string.
type names struct {
	text string
	ends [2 * chunkSize]int
}

func newNames(prefix string, c *chunk) *names {
	n := &names{}
	size := 0
	for i := range c.msgs {
		size += len(prefix) + len(c.name) + 4 + len(c.msgs[i].ID) + 1 + len(c.msgs[i].Channel)
	}
	var b strings.Builder
	b.Grow(size)
	for i := range c.msgs {
		b.WriteString(prefix)
		b.WriteString(c.name)
		b.WriteByte('.')
		b.WriteString(strconv.Itoa(i))
		n.ends[2*i] = b.Len()
		b.WriteString(c.msgs[i].ID)
		b.WriteByte('|')
		b.WriteString(c.msgs[i].Channel)
		n.ends[2*i+1] = b.Len()
	}
	n.text = b.String()
	return n
}

func (n *names) reply(i int) string {
	if i == 0 {
		return n.text[:n.ends[0]]
	}
	return n.text[n.ends[2*i-1]:n.ends[2*i]]
}

func (n *names) id(i int) string { return n.text[n.ends[2*i]:n.ends[2*i+1]] }
