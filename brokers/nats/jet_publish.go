package nats

import (
	"context"
	"errors"
	"fmt"
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
		p.sent <- brokers.Contain(func() error { return p.send(ctx) })
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
