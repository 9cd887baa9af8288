package kafka

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/fetch"

	"github.com/eventbus-go/eventbus/brokers"
)

// The longest that a broker keeps a fetch without a message, and how long where a partition that is not asked for may soon
// be again; the most that one response has; and the pause after an error.
const (
	maxWait      = 500 * time.Millisecond
	shortWait    = 50 * time.Millisecond
	responseMax  = 8 << 20
	pauseOnError = 200 * time.Millisecond
)

// fetchers fetch until ctx ends: one goroutine for each broker that leads a partition.
type fetchers struct {
	s       *subscription
	ctx     context.Context
	cancel  context.CancelFunc
	wg      sync.WaitGroup
	running map[int32]bool // used by the goroutine that calls lead
}

func (s *subscription) startFetching(ctx context.Context) *fetchers {
	f := &fetchers{s: s, running: make(map[int32]bool)}
	f.ctx, f.cancel = context.WithCancel(ctx)
	return f
}

// lead makes sure that each broker that leads a partition is asked.
func (f *fetchers) lead(topics map[string]*topic) {
	for _, broker := range f.s.led(topics) {
		if !f.running[broker] {
			f.running[broker] = true
			f.run(broker)
		}
	}
}

// run starts the goroutine that asks a broker.
func (f *fetchers) run(broker int32) {
	f.wg.Go(func() {
		if err := brokers.Contain(func() error { f.loop(broker); return nil }); err != nil {
			f.s.fail(err)
		}
	})
}

func (f *fetchers) stop() {
	f.cancel()
	f.wg.Wait()
}

func (f *fetchers) loop(broker int32) {
	for f.ctx.Err() == nil {
		parts, req, changed := f.s.nextFetch(broker)
		if len(parts) == 0 {
			t := time.NewTimer(pauseOnError)
			select {
			case <-changed:
			case <-t.C:
			case <-f.ctx.Done():
			}
			t.Stop()
			continue
		}
		res, err := ask[*fetch.Response](f.ctx, f.s.c, req)
		if err == nil {
			err = codeError(res.ErrorCode)
		}
		if err != nil {
			f.s.fetchFailed(parts, err)
			f.s.c.cluster.renew()
			continue
		}
		f.s.fetched(f.ctx, parts, res)
	}
}

// nextFetch returns the partitions to ask a broker for, and what is closed when there may be others.
func (s *subscription) nextFetch(broker int32) ([]*partition, *fetch.Request, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.paused || s.bytes >= s.c.set.bufferBytes {
		return nil, nil, s.hungry
	}
	now := time.Now()
	var parts []*partition
	wait := maxWait
	req := &fetch.Request{
		ReplicaID: -1, MinBytes: 1, MaxBytes: responseMax, SessionEpoch: -1,
	}
	for _, p := range s.order {
		if p.leader != broker {
			continue
		}
		if !p.hungry(now, s.c.set.maxAhead) {
			wait = shortWait
			continue
		}
		p.fetching = true
		parts = append(parts, p)
		part := fetch.RequestPartition{
			Partition: int32(p.id), CurrentLeaderEpoch: -1, FetchOffset: p.next, LogStartOffset: -1,
			PartitionMaxBytes: int32(max(fetchBytes, s.c.set.maxBytes+overhead)),
		}
		if n := len(req.Topics); n > 0 && req.Topics[n-1].Topic == p.topic {
			req.Topics[n-1].Partitions = append(req.Topics[n-1].Partitions, part)
			continue
		}
		req.Topics = append(req.Topics, fetch.RequestTopic{Topic: p.topic, Partitions: []fetch.RequestPartition{part}})
	}
	req.MaxWaitTime = int32(wait.Milliseconds())
	return parts, req, s.hungry
}

// fetchFailed lets partitions be asked for again after a pause.
func (s *subscription) fetchFailed(parts []*partition, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range parts {
		p.fetching, p.retryAt = false, time.Now().Add(pauseOnError)
		if p.failure == nil && !errors.Is(err, context.Canceled) {
			p.failure = err
		}
	}
}

// fetched takes over the records of a response.
func (s *subscription) fetched(ctx context.Context, parts []*partition, res *fetch.Response) {
	byPlace := make(map[tp]*fetch.ResponsePartition, len(parts))
	for i := range res.Topics {
		t := &res.Topics[i]
		for j := range t.Partitions {
			byPlace[tp{t.Topic, int(t.Partitions[j].Partition)}] = &t.Partitions[j]
		}
	}
	for _, p := range parts {
		r := byPlace[p.tp]
		switch err := missingOr(r); {
		case errors.Is(err, kafkago.OffsetOutOfRange):
			s.recover(ctx, p)
		case err != nil:
			s.fetchFailed([]*partition{p}, err)
			s.c.cluster.renew()
		default:
			s.accept(p, r)
		}
	}
	s.wake()
}

func missingOr(r *fetch.ResponsePartition) error {
	if r == nil {
		return kafkago.UnknownTopicOrPartition
	}
	return codeError(r.ErrorCode)
}

// accept decodes the records of a partition and puts them into its buffer.
func (s *subscription) accept(p *partition, r *fetch.ResponsePartition) {
	from := p.next // only changed by the one who fetches
	entries, next := s.decodeAll(p, r.RecordSet.Records, from)
	s.mu.Lock()
	defer s.mu.Unlock()
	p.fetching, p.failure = false, nil
	if p.dead {
		return
	}
	p.next = next
	for _, e := range entries {
		p.bytes += e.size
		s.bytes += e.size
	}
	p.buffer = append(p.buffer, entries...)
}

// decodeAll returns the records from offset from on, and the offset after the last one.
func (s *subscription) decodeAll(p *partition, records protocol.RecordReader, from int64) ([]*entry, int64) {
	if records == nil {
		return nil, from
	}
	var out []*entry
	next := from
	d := &decoder{}
	stream, ok := records.(*protocol.RecordStream)
	if !ok {
		stream = &protocol.RecordStream{Records: []protocol.RecordReader{records}}
	}
	for _, batch := range stream.Records {
		_, control := batch.(*protocol.ControlBatch)
		var err error
		if out, next, err = s.decodeBatch(&batchReader{p: p, d: d, records: batch, control: control}, out, next); err != nil {
			break // what was decoded is delivered; the rest is fetched again
		}
	}
	if next == from {
		next++ // the broker has something here that is no record any more, such as a compacted one
	}
	return out, next
}

// A batchReader reads the records of one batch.
type batchReader struct {
	p       *partition
	d       *decoder
	records protocol.RecordReader
	control bool
}

func (s *subscription) decodeBatch(b *batchReader, out []*entry, next int64) ([]*entry, int64, error) {
	for {
		rec, err := b.records.ReadRecord()
		if errors.Is(err, io.EOF) {
			return out, next, nil
		}
		if err != nil {
			return out, next, err
		}
		if rec.Offset >= next && !b.control {
			e := b.d.entry()
			e.p, e.offset = b.p, rec.Offset
			if e.msg, e.bad, e.full, err = b.d.decode(rec, b.p.topic, s.spec.MaxBytes); err == nil {
				e.size = recordSize(&e.msg)
				out = append(out, e)
			}
		}
		if rec.Key != nil {
			_ = rec.Key.Close()
		}
		if rec.Value != nil {
			_ = rec.Value.Close()
		}
		if err != nil {
			return out, next, err
		}
		next = max(next, rec.Offset+1)
	}
}

// recover finds a new place in a partition that does not have the next offset any more: retention was faster, which is a
// gap, or the topic was deleted and made anew, or its leader lost its end, where it begins again at the first message.
func (s *subscription) recover(ctx context.Context, p *partition) {
	first, err := s.c.offset(ctx, p.tp, kafkago.FirstOffset)
	if err != nil {
		s.fetchFailed([]*partition{p}, err)
		return
	}
	if before := s.moveTo(p, first); first > before {
		s.missed(first-before, kafkago.OffsetOutOfRange)
	} else {
		s.missed(-1, kafkago.OffsetOutOfRange)
	}
}

// moveTo goes on at offset first of a partition, and returns where it was. Where it goes back, the log is another one. Suppose
// 950 of the old one were still unsettled: settling it would commit 951 of the new one, whose first messages were never
// delivered. So nothing of the old one is kept, and what is settled of it is late.
func (s *subscription) moveTo(p *partition, first int64) (before int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before = p.next
	p.next, p.fetching, p.failure = first, false, nil
	if first >= before || p.dead {
		return before
	}
	fresh := &partition{tp: p.tp, leader: p.leader, next: first, committed: -1}
	s.parts[p.tp] = fresh
	s.order[slices.Index(s.order, p)] = fresh
	s.drop(p)
	s.settledSome()
	return before
}
