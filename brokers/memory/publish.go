package memory

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"unsafe"

	"github.com/eventbus-go/eventbus/brokers"
)

// A publication is one batch on its way into the queues.
type publication struct {
	c      *conn
	msgs   []brokers.Message
	routes []*route
	copies []content
	// left are the messages that found a queue full, in order; full is the last such queue.
	left   []int
	full   *queue
	failed []brokers.MessageError
}

// content is what the broker keeps of a message beside its strings, which nobody can change.
type content struct {
	body    []byte
	headers []brokers.Header
	size    int
	done    bool
}

var publications = sync.Pool{New: func() any { return new(publication) }}

// Publish waits while a queue is full. The contract is Conn's; no outcome is Unknown.
func (c *conn) Publish(ctx context.Context, msgs []brokers.Message) error {
	if len(msgs) == 0 {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return brokers.FailAll(len(msgs), brokers.NotSent, err)
	}
	p := publications.Get().(*publication)
	p.c, p.msgs = c, msgs
	defer p.recycle()
	return p.send(ctx)
}

func (p *publication) send(ctx context.Context) error {
	b := p.c.b
	b.mu.Lock()
	if p.c.closed {
		b.mu.Unlock()
		return brokers.FailAll(len(p.msgs), brokers.NotSent, brokers.ErrClosed)
	}
	p.route()
	topology := b.topology
	b.mu.Unlock()
	p.copy() // off the lock: bodies may be large

	b.mu.Lock()
	defer b.mu.Unlock()
	if p.c.closed {
		return brokers.FailAll(len(p.msgs), brokers.NotSent, brokers.ErrClosed)
	}
	if topology != b.topology {
		p.route()
	}
	p.admitAll()
	for len(p.left) > 0 {
		if err := p.awaitSpace(ctx); err != nil {
			p.giveUp(err)
			break
		}
		p.route()
		p.admitLeft()
	}
	return p.result()
}

// route looks up where the messages go. b.mu is held.
func (p *publication) route() {
	p.routes = p.routes[:0]
	var last *route
	for i := range p.msgs {
		if ch := p.msgs[i].Channel; last == nil || last.channel != ch {
			last = p.c.b.routeOf(ch)
		}
		p.routes = append(p.routes, last)
	}
}

// slabSize bounds the block that small bodies of one batch share. A block lives as long as one of its bodies does, so
// a large one would cost a slow subscription many times what its queue is bounded to.
const slabSize = 4096

// copy copies what has to be kept of the messages that somebody wants. Messages that follow each other with one body,
// as an event's on several channels do, share the copy.
func (p *publication) copy() {
	p.copies = slices.Grow(p.copies[:0], len(p.msgs))[:len(p.msgs)]
	s := slab{need: p.bytesToCopy()}
	last := -1
	for i := range p.msgs {
		if len(p.routes[i].queues) == 0 {
			continue
		}
		if last >= 0 && sameBytes(p.msgs[i].Body, p.msgs[last].Body) {
			p.copies[i].body = p.copies[last].body
		} else {
			p.copies[i].body = s.copy(p.msgs[i].Body)
		}
		p.finish(i)
		last = i
	}
}

func (p *publication) bytesToCopy() int {
	need, last := 0, -1
	for i := range p.msgs {
		if len(p.routes[i].queues) == 0 {
			continue
		}
		if last < 0 || !sameBytes(p.msgs[i].Body, p.msgs[last].Body) {
			need += len(p.msgs[i].Body)
		}
		last = i
	}
	return need
}

// A slab is the block that bodies are being copied into. It is a Builder because that is how to get memory which is not
// cleared before it is written; nobody modifies a body.
type slab struct {
	block strings.Builder
	need  int // bytes still to be copied
}

func (s *slab) copy(body []byte) []byte {
	if s.block.Cap()-s.block.Len() < len(body) {
		s.block = strings.Builder{}
		s.block.Grow(max(len(body), min(s.need, slabSize)))
	}
	s.need -= len(body)
	start := s.block.Len()
	s.block.Write(body)
	text := s.block.String()[start:]
	return unsafe.Slice(unsafe.StringData(text), len(text))
}

// sameBytes reports whether a and b are the same memory.
func sameBytes(a, b []byte) bool {
	return len(a) == len(b) && unsafe.SliceData(a) == unsafe.SliceData(b)
}

// finish copies the headers and adds up the size.
func (p *publication) finish(i int) {
	c := &p.copies[i]
	c.headers = slices.Clone(p.msgs[i].Headers)
	c.size = len(c.body)
	for _, h := range c.headers {
		c.size += len(h.Key) + len(h.Value)
	}
	c.done = true
}

// admitAll lets the messages into their queues, in order, and notes the others in left. b.mu is held.
func (p *publication) admitAll() {
	p.c.b.pass++
	p.full = nil
	for i := range p.msgs {
		p.admit(i)
	}
	p.wake()
}

// admitLeft tries those again that are left.
func (p *publication) admitLeft() {
	p.c.b.pass++
	p.full = nil
	again := slices.Clone(p.left)
	p.left = p.left[:0]
	for _, i := range again {
		p.admit(i)
	}
	p.wake()
}

// admit lets one message into all of its queues or into none.
func (p *publication) admit(i int) {
	r, msg := p.routes[i], &p.msgs[i]
	if err := cmp.Or(r.err, brokers.CheckHeaders(msg.Headers)); err != nil {
		p.failed = append(p.failed, brokers.MessageError{Index: i, Outcome: brokers.Rejected, Err: err})
		return
	}
	if len(r.queues) == 0 {
		return
	}
	c := &p.copies[i]
	if !c.done { // somebody has subscribed since copy
		c.body = slices.Clone(msg.Body)
		p.finish(i)
	}
	if !p.fits(r, c.size) {
		p.left = append(p.left, i)
		return
	}
	k := keep(msg, r.channel, c)
	for _, q := range r.queues {
		q.push(&k, c.size)
	}
}

// fits reports whether all queues have room. One that has refused a message takes no later one of this pass, nor does
// any other queue of that message, so that each queue keeps the order of the batch.
func (p *publication) fits(r *route, size int) bool {
	pass, ok := p.c.b.pass, true
	for _, q := range r.queues {
		if q.full(size) {
			q.wanted, p.full = true, q
			q.refused = pass
		}
		ok = ok && q.refused != pass
	}
	if ok {
		return true
	}
	for _, q := range r.queues {
		q.refused = pass
	}
	return false
}

// wake wakes the members of the queues that got something.
func (p *publication) wake() {
	var last *route
	for _, r := range p.routes {
		if r == last {
			continue
		}
		last = r
		for _, q := range r.queues {
			q.wake()
		}
	}
}

// awaitSpace waits, with b.mu released, until a queue may have room. Its error ends the wait for good: where the connection is
// closed, whatever else has happened, since the queues may have ended with it.
func (p *publication) awaitSpace(ctx context.Context) (err error) {
	b := p.c.b
	if b.space == nil {
		b.space = make(chan struct{})
	}
	space := b.space
	b.mu.Unlock()
	select {
	case <-space:
	case <-ctx.Done():
		err = ctx.Err()
	case <-p.c.closing:
	}
	b.mu.Lock()
	if p.c.closed {
		return brokers.ErrClosed
	}
	return err
}

// giveUp marks what is left as not sent. Where the context ended it first takes what room there is, since a publisher
// is not woken for each free place.
func (p *publication) giveUp(err error) {
	if !errors.Is(err, brokers.ErrClosed) {
		p.route()
		p.admitLeft()
		if p.full != nil {
			err = fmt.Errorf("the queue of %q is full (%d messages, %d bytes): %w", p.full.name, p.full.count, p.full.bytes, err)
		}
	}
	for _, i := range p.left {
		p.failed = append(p.failed, brokers.MessageError{Index: i, Outcome: brokers.NotSent, Err: err})
	}
}

func (p *publication) result() error {
	if len(p.failed) == 0 {
		return nil
	}
	slices.SortFunc(p.failed, func(a, b brokers.MessageError) int { return a.Index - b.Index })
	return &brokers.BatchError{Failed: p.failed}
}

// recycle forgets everything of the batch, and keeps the slices unless they are large.
func (p *publication) recycle() {
	const most = 4096
	p.c, p.msgs, p.full, p.failed = nil, nil, nil, nil
	clear(p.routes)
	clear(p.copies)
	p.left = p.left[:0]
	if cap(p.routes) <= most {
		publications.Put(p)
	}
}
