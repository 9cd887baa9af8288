package kafka

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/produce"

	"github.com/eventbus-go/eventbus/brokers"
)

// requestBytes bounds one request; a broker takes 100 MB (socket.request.max.bytes).
const requestBytes = 16 << 20

// Publish sends msgs as one request to each broker that leads a partition of theirs, and waits for all replicas. A
// partition whose messages are more than one batch gets them one batch after the other; where one fails, the rest is
// NotSent, so that no message overtakes another one of its key.
func (c *conn) Publish(ctx context.Context, msgs []brokers.Message) error {
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
	p := &publication{c: c, msgs: msgs, parts: make(map[tp]*batchList)}
	if err := p.plan(ctx); err != nil {
		p.failRest(err)
		return p.err()
	}
	for p.round(ctx) {
	}
	return p.err()
}

// A tp is a partition of a topic.
type tp struct {
	topic string
	id    int
}

// A publication is one call of Publish.
type publication struct {
	c     *conn
	msgs  []brokers.Message
	parts map[tp]*batchList
	order []*batchList // in the order of their first message

	mu     sync.Mutex
	failed []brokers.MessageError
}

// A batchList has the messages of one partition.
type batchList struct {
	tp
	leader int32
	rest   []int32 // places in msgs that are not sent yet
}

func (p *publication) fail(i int, o brokers.Outcome, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.failed = append(p.failed, brokers.MessageError{Index: i, Outcome: o, Err: err})
}

// failRest marks what is not marked, none of which was sent.
func (p *publication) failRest(err error) {
	marked := make(map[int]bool, len(p.failed))
	for _, f := range p.failed {
		marked[f.Index] = true
	}
	for i := range p.msgs {
		if !marked[i] {
			p.fail(i, classify(err, false), err)
		}
	}
}

func (p *publication) err() error {
	if len(p.failed) == 0 {
		return nil
	}
	slices.SortFunc(p.failed, func(a, b brokers.MessageError) int { return a.Index - b.Index })
	return &brokers.BatchError{Failed: p.failed}
}

// plan finds the partition of each message, and marks those that cannot be sent.
func (p *publication) plan(ctx context.Context) error {
	var names []string
	bad := make(map[string]error)
	seen := make(map[string]bool)
	for i := range p.msgs {
		ch := p.msgs[i].Channel
		if seen[ch] {
			continue
		}
		seen[ch] = true
		if err := brokers.CheckChannel(ch); err != nil {
			bad[ch] = badChannel{err}
			continue
		}
		names = append(names, ch)
	}
	topics, unusable, err := p.c.cluster.ensure(ctx, names)
	if err != nil {
		for i := range p.msgs {
			if fault := p.faultOf(i, bad); fault != nil {
				p.fail(i, brokers.Rejected, fault)
			}
		}
		return err
	}
	keyless := int(p.c.turn.Add(1))
	for i := range p.msgs {
		m := &p.msgs[i]
		if fault := p.faultOf(i, bad); fault != nil {
			p.fail(i, brokers.Rejected, fault)
			continue
		}
		t := topics[m.Channel]
		if t == nil {
			p.fail(i, classify(unusable[m.Channel], false), unusable[m.Channel])
			continue
		}
		p.add(int32(i), tp{m.Channel, t.partitionOf(m.Key, keyless)}, t)
	}
	return nil
}

// faultOf says why message i can never be sent.
func (p *publication) faultOf(i int, bad map[string]error) error {
	m := &p.msgs[i]
	if err := bad[m.Channel]; err != nil {
		return err
	}
	if n := len(m.Body); n > p.c.set.maxBytes {
		return tooLong{"a body", n, p.c.set.maxBytes}
	}
	if n := recordSize(m); n > p.c.set.maxBytes+overhead {
		return tooLong{"a message with its key and headers", n, p.c.set.maxBytes + overhead}
	}
	return brokers.CheckHeaders(m.Headers)
}

// partitionOf agrees with the Java client for messages that have a key; the others of one Publish stay together.
func (t *topic) partitionOf(key string, keyless int) int {
	if key == "" {
		return keyless % len(t.ids)
	}
	return kafkago.Murmur2Balancer{}.Balance(kafkago.Message{Key: []byte(key)}, t.ids...)
}

func (p *publication) add(i int32, at tp, t *topic) {
	l := p.parts[at]
	if l == nil {
		l = &batchList{tp: at, leader: t.leaders[at.id]}
		p.parts[at] = l
		p.order = append(p.order, l)
	}
	l.rest = append(l.rest, i)
}

// round sends one batch of each partition, and reports whether there is more to send.
func (p *publication) round(ctx context.Context) bool {
	reqs := make(map[int32]*request)
	for _, l := range p.order {
		if len(l.rest) == 0 {
			continue
		}
		r := reqs[l.leader]
		if r == nil {
			r = &request{p: p}
			reqs[l.leader] = r
		}
		if r.size < requestBytes {
			r.take(l)
		}
	}
	var others sync.WaitGroup
	var first *request
	for _, r := range reqs {
		if first == nil {
			first = r
			continue
		}
		others.Go(func() { r.sendOrFail(ctx) })
	}
	if first == nil {
		return false
	}
	first.sendOrFail(ctx)
	others.Wait()
	return true
}

// A request has one batch for each of several partitions that one broker leads.
type request struct {
	p       *publication
	state   atomic.Int32
	batches []batch
	size    int
}

type batch struct {
	list  *batchList
	which []int32
	size  int
}

// take moves as much of l to the request as fits into one batch.
func (r *request) take(l *batchList) {
	size, n := 0, 0
	most := r.p.c.cluster.batchLimit(l.topic)
	for n < len(l.rest) {
		s := recordSize(&r.p.msgs[l.rest[n]])
		if n > 0 && size+s > most {
			break
		}
		size += s
		n++
	}
	r.batches = append(r.batches, batch{l, l.rest[:n:n], size})
	l.rest = l.rest[n:]
	r.size += size
}

// sendOrFail is send, after which each message has its outcome even where that panics.
func (r *request) sendOrFail(ctx context.Context) {
	err := brokers.Contain(func() error { r.send(ctx); return nil })
	if err == nil {
		return
	}
	outcome := classify(err, r.state.Swap(abandoned) != idle)
	for _, b := range r.batches {
		r.fail(b, outcome, err)
	}
}

// send sends the request and marks the messages that the broker did not take.
func (r *request) send(ctx context.Context) {
	req := &produce.Request{Acks: -1, Timeout: int32(r.p.c.set.requestTimeout.Milliseconds())}
	for _, b := range r.batches {
		part := produce.RequestPartition{
			Partition: int32(b.list.id),
			RecordSet: protocol.RecordSet{Records: &records{state: &r.state, msgs: r.p.msgs, which: b.which}},
		}
		if n := len(req.Topics); n > 0 && req.Topics[n-1].Topic == b.list.topic {
			req.Topics[n-1].Partitions = append(req.Topics[n-1].Partitions, part)
			continue
		}
		req.Topics = append(req.Topics, produce.RequestTopic{
			Topic: b.list.topic, Partitions: []produce.RequestPartition{part},
		})
	}
	res, err := ask[*produce.Response](ctx, r.p.c, req)
	started := r.state.Swap(abandoned) == begun
	if err != nil {
		r.lost(ctx, err, started)
		return
	}
	r.settle(res)
}

// lost marks all messages of a request that has no response.
func (r *request) lost(ctx context.Context, err error, started bool) {
	if cause := ctx.Err(); cause != nil {
		err = cause
	} else {
		r.p.c.cluster.renew()
	}
	for _, b := range r.batches {
		r.fail(b, classify(err, started), err)
	}
}

// settle marks the messages of those batches that the broker did not take.
func (r *request) settle(res *produce.Response) {
	parts := make(map[tp]*produce.ResponsePartition)
	for i := range res.Topics {
		t := &res.Topics[i]
		for j := range t.Partitions {
			parts[tp{t.Topic, int(t.Partitions[j].Partition)}] = &t.Partitions[j]
		}
	}
	for _, b := range r.batches {
		part := parts[b.list.tp]
		if part == nil {
			r.fail(b, brokers.Unknown, errors.New("the broker's response does not have the partition"))
			continue
		}
		err := codeError(part.ErrorCode)
		switch {
		case err == nil:
			r.p.c.cluster.fits(b.list.topic, b.size)
		case batchRefused(err) && len(b.which) > 1:
			r.p.c.cluster.tooLarge(b.list.topic, b.size)
			r.fail(b, brokers.NotSent, tooMany{err})
		case len(part.RecordErrors) > 0 && classify(err, true) == brokers.Rejected:
			r.failSome(b, part, err)
		default:
			r.fail(b, classify(err, true), err)
			r.p.c.cluster.renew()
		}
	}
}

// fail marks a batch, and what would follow it unless it was rejected: it must not overtake what is sent again.
func (r *request) fail(b batch, o brokers.Outcome, err error) {
	for _, i := range b.which {
		r.p.fail(int(i), o, err)
	}
	if o == brokers.Rejected {
		return
	}
	for _, i := range b.list.rest {
		r.p.fail(int(i), brokers.NotSent, err)
	}
	b.list.rest = nil
}

// failSome marks a batch of which the broker dislikes some records: it has appended none of them.
func (r *request) failSome(b batch, part *produce.ResponsePartition, err error) {
	bad := make(map[int]bool)
	for _, e := range part.RecordErrors {
		bad[int(e.BatchIndex)] = true
	}
	for at, i := range b.which {
		if bad[at] {
			r.p.fail(int(i), brokers.Rejected, err)
		} else {
			r.p.fail(int(i), brokers.NotSent, err)
		}
	}
	for _, i := range b.list.rest {
		r.p.fail(int(i), brokers.NotSent, err)
	}
	b.list.rest = nil
}
