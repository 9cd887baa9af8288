package nats

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/eventbus-go/eventbus/brokers"
)

// The window: at most windowChunks chunks of chunkSize messages are sent and not confirmed, over all Publish calls of a
// connection. The client library's own default is 4,000 messages.
const (
	chunkSize    = 256
	windowChunks = 16
)

// errNoStream is the server's answer where no stream takes a channel, such as one that was deleted a moment ago.
var errNoStream = errors.New("no stream takes the channel")

// acks receives the confirmations of one session.
type acks struct {
	prefix string

	mu     sync.Mutex
	number uint64
	chunks map[string]*chunk // by number in base 36
}

// openAcks subscribes to the session's confirmations.
func openAcks(s *session) error {
	a := &acks{prefix: natsgo.NewInbox() + ".", chunks: make(map[string]*chunk)}
	sub, err := s.nc.Subscribe(a.prefix+"*.*", a.receive)
	if err != nil {
		return err
	}
	s.acks = a
	return sub.SetPendingLimits(-1, -1) // the window bounds it
}

// add awaits the confirmations of a chunk, and reports false where it was removed already: suppose its call ended at that moment,
// then nobody would ever remove it.
func (a *acks) add(c *chunk) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if c.removed {
		return false
	}
	a.number++
	c.name = strconv.FormatUint(a.number, 36)
	a.chunks[c.name] = c
	return true
}

func (a *acks) remove(c *chunk) {
	a.mu.Lock()
	defer a.mu.Unlock()
	c.removed = true
	delete(a.chunks, c.name)
}

// receive is called with each confirmation, on a goroutine of the client's.
func (a *acks) receive(m *natsgo.Msg) {
	name, index, ok := strings.Cut(m.Subject[len(a.prefix):], ".")
	i, err := strconv.Atoi(index)
	if !ok || err != nil {
		return
	}
	a.mu.Lock()
	c := a.chunks[name]
	a.mu.Unlock()
	if c != nil {
		c.settle(i, readAck(m))
	}
}

// readAck returns why a message was not taken, or nil
// (https://docs.nats.io/reference/reference-protocols/nats_api_reference#pub-ack).
func readAck(m *natsgo.Msg) error {
	if len(m.Data) == 0 {
		return errNoStream // the status 503: nobody listens on the channel
	}
	if !strings.Contains(string(m.Data), `"error"`) {
		return nil
	}
	var reply struct {
		Error *jetstream.APIError `json:"error"`
	}
	if err := json.Unmarshal(m.Data, &reply); err != nil {
		return err
	}
	if reply.Error == nil {
		return nil
	}
	return reply.Error
}

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

// Publish sends msgs and returns once the server has confirmed each of them. The id that the server deduplicates by is
// the message's ID and its channel.
func (c *jet) Publish(ctx context.Context, msgs []brokers.Message) error {
	if len(msgs) == 0 {
		return nil
	}
	if !c.calls.Enter() {
		return brokers.FailAll(len(msgs), brokers.NotSent, brokers.ErrClosed)
	}
	defer c.calls.Leave()
	if err := ctx.Err(); err != nil {
		return brokers.FailAll(len(msgs), brokers.NotSent, err)
	}
	s, err := c.pub.Now(ctx)
	if err != nil {
		return brokers.FailAll(len(msgs), brokers.NotSent, err)
	}
	p := &jetPublication{conn: c, session: s, denials: s.denials(), sent: make(chan error, 1)}
	p.split(msgs)
	if !c.execs.Enter() {
		return brokers.FailAll(len(msgs), brokers.NotSent, brokers.ErrClosed)
	}
	go func() {
		defer c.execs.Leave()
		p.sent <- p.send(ctx)
	}()
	return p.wait(ctx)
}

// A jetPublication is one call of Publish.
type jetPublication struct {
	conn    *jet
	session *session
	denials uint64 // of the session, before this call
	chunks  []*chunk
	sent    chan error // how sending ended
}

func (p *jetPublication) split(msgs []brokers.Message) {
	for from := 0; from < len(msgs); from += chunkSize {
		part := msgs[from:min(from+chunkSize, len(msgs))]
		p.chunks = append(p.chunks, &chunk{
			from: from, msgs: part, done: make(chan struct{}), states: make([]uint8, len(part)), remaining: len(part),
		})
	}
}

// send gives the chunks to the client, each one when there is room in the window.
func (p *jetPublication) send(ctx context.Context) error {
	var w headerWriter
	for _, c := range p.chunks {
		select {
		case p.conn.tokens <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		case <-p.session.over:
			return p.session.err
		}
		if !c.enter(p.conn.tokens) || !p.session.acks.add(c) {
			return errAbandoned
		}
		if err := p.sendChunk(ctx, c, &w); err != nil {
			return err
		}
	}
	return nil
}

// sendChunk gives a chunk's messages to the client. It returns an error where the rest had better not follow.
func (p *jetPublication) sendChunk(ctx context.Context, c *chunk, w *headerWriter) error {
	names := newNames(p.session.acks.prefix, c)
	var msg natsgo.Msg
	for i := range c.msgs {
		m := &c.msgs[i]
		if err := p.check(ctx, m); err != nil {
			c.settle(i, err)
			continue
		}
		if !c.begin(i) {
			return errAbandoned
		}
		msg.Subject, msg.Data, msg.Reply = m.Channel, m.Body, names.reply(i)
		msg.Header = w.write(m, p.conn.set.headers)
		if p.conn.set.headers == headersNeeded {
			w.set(headerType, m.Type) // for who looks at a stream, and for filters of other clients
		}
		if m.ID != "" {
			w.set(headerMsgID, names.id(i))
		}
		if !m.NotBefore.IsZero() {
			w.set(headerNotBefore, m.NotBefore.UTC().Format(time.RFC3339Nano))
		}
		switch err := p.session.nc.PublishMsg(&msg); {
		case err == nil:
		case rejects(err):
			c.settle(i, err)
		default:
			return err
		}
	}
	return nil
}

// check returns why a message cannot be sent, after making the stream that takes it, if that has to be.
func (p *jetPublication) check(ctx context.Context, m *brokers.Message) error {
	if err := brokers.CheckChannel(m.Channel); err != nil {
		return badChannel{err}
	}
	if len(m.Body) > p.conn.set.maxBytes {
		return bodyTooLong{len(m.Body), p.conn.set.maxBytes}
	}
	if err := brokers.CheckHeaders(m.Headers); err != nil {
		return err
	}
	key, _ := p.conn.set.jet.streamKey(m.Channel)    // it fails for wildcards only
	if p.conn.known(key) || !p.conn.set.jet.create { // without leave to make streams, perhaps there is none to look at them

		return nil
	}
	js, err := jetstream.New(p.session.nc)
	if err != nil {
		return err
	}
	if _, err := p.conn.set.jet.ensureStream(ctx, js, key); err != nil {
		return err
	}
	p.conn.setKnown(key, true)
	return nil
}

// wait returns the outcome once every message has an answer, or none can come any more.
func (p *jetPublication) wait(ctx context.Context) error {
	var err error
	select {
	case err = <-p.sent:
	case <-ctx.Done():
		err = ctx.Err()
	}
	for i := 0; err == nil && i < len(p.chunks); i++ {
		err = p.answered(ctx, p.chunks[i])
	}
	var failed []brokers.MessageError
	for _, c := range p.chunks {
		p.session.acks.remove(c)
		failed = append(failed, c.close(err)...)
	}
	for i, f := range failed {
		if f.Err == errNoStream && !p.conn.set.jet.create {
			failed[i].Err = &setupError{fmt.Errorf("%w, and create=false forbids to make one", errNoStream)}
		} else if f.Err == errNoStream {
			c := p.chunks[f.Index/chunkSize]
			key, _ := p.conn.set.jet.streamKey(c.msgs[f.Index-c.from].Channel)
			p.conn.setKnown(key, false) // made again with the next Publish
		}
	}
	return batchError(failed)
}

// answered waits until every message of a chunk has an answer. What the user may not publish gets none but a denial.
func (p *jetPublication) answered(ctx context.Context, c *chunk) error {
	for {
		woken := p.session.news()
		for _, err := range p.session.after(p.denials) {
			if channel, ok := deniedChannel(err, "Publish"); ok {
				c.deny(channel, err)
			}
		}
		select {
		case <-c.done:
			return nil
		case <-woken:
		case <-p.session.over:
			return p.session.err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
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
