package redis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/eventbus-go/eventbus/brokers"
)

// A tail is a subscription without a group: it reads everything from now on, and leaves nothing behind on the server.
// One goroutine reads and calls the sink: while the sink blocks nothing is fetched. There is nothing to settle: the
// server does not know of it.
type tail struct {
	conn  *stream
	names *names
	read  entryReader
	sink  brokers.Sink
	count int

	client  *goredis.Client
	buffer  replyBuffer
	sources []*tailSource
	byKey   map[string]*tailSource
	waiting []waiting // for their NotBefore, the first one first
	polled  time.Time
	size    int

	everReady bool
	trouble   trouble
}

// A tailSource is one channel.
type tailSource struct {
	channel, key string
	at           entryID // everything up to here was received
	existed      bool
	mark         entryID // one that was received before the last look, or else the first one: it tells a stream from its successor
	last         entryID // the last entry, when we last looked
}

// waiting is a message that is not to be delivered yet. Only where it is is kept.
type waiting struct {
	at     time.Time
	source *tailSource
	id     entryID
}

func (c *stream) newTail(s brokers.Subscription, patterns []brokers.Pattern, sink brokers.Sink) *tail {
	t := &tail{
		conn: c, names: newNames(c, patterns), sink: sink, count: s.Prefetch, byKey: make(map[string]*tailSource), size: 1 << 10,
		read: entryReader{format: c.set.stream.format, maxBytes: s.MaxBytes},
	}
	if t.count <= 0 {
		t.count = c.set.stream.prefetch
	}
	t.trouble.gap = sink.Gap
	return t
}

func (t *tail) run(ctx context.Context) error {
	line, client := t.conn.ownLine(pollEvery)
	t.client = client
	defer t.conn.disown(client)
	line.watch(ctx)
	defer line.unwatch()
	return t.conn.retry(ctx, &t.trouble, func() error { return t.serve(ctx) })
}

// serve reads until ctx ends or the connection does.
func (t *tail) serve(ctx context.Context) error {
	if err := t.attach(ctx); err != nil {
		return err
	}
	if err := t.look(ctx); err != nil {
		return err
	}
	if !t.everReady {
		t.everReady = true
		t.sink.Ready()
	}
	t.trouble.over()
	for {
		if time.Since(t.polled) >= pollEvery {
			t.polled = time.Now()
			if err := errors.Join(t.attach(ctx), t.look(ctx)); err != nil {
				return err
			}
		}
		if err := t.deliverDue(ctx); err != nil {
			return err
		}
		if err := t.fetch(ctx); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		t.trouble.well(time.Now())
	}
}

// attach begins to read the channels that are not read yet: from now on where the subscription is not ready yet, else
// from their first message on.
func (t *tail) attach(ctx context.Context) error {
	channels, err := t.names.find(ctx, t.client)
	if err != nil {
		return err
	}
	if !t.everReady {
		channels = append(channels, t.names.literals...)
	}
	for _, channel := range channels {
		s := &tailSource{channel: channel, key: t.conn.set.stream.streamKey(channel)}
		if t.byKey[s.key] != nil {
			continue
		}
		if !t.everReady {
			last, err := t.client.XRevRangeN(ctx, s.key, "+", "-", 1).Result()
			if err != nil {
				return err
			}
			if len(last) > 0 {
				s.at, _ = readID(last[0].ID)
				s.mark = s.at
			}
		}
		t.sources = append(t.sources, s)
		t.byKey[s.key] = s
	}
	return nil
}

// look finds out whether entries were removed before they were received.
func (t *tail) look(ctx context.Context) error {
	pipe := t.client.Pipeline()
	infos := make([]*goredis.XInfoStreamCmd, len(t.sources))
	there := make([]*goredis.XMessageSliceCmd, len(t.sources))
	for i, s := range t.sources {
		infos[i] = pipe.XInfoStream(ctx, s.key)
		there[i] = pipe.XRangeN(ctx, s.key, s.mark.String(), s.mark.String(), 1)
	}
	if len(infos) == 0 {
		return nil
	}
	if err := execute(ctx, pipe); err != nil {
		return err
	}
	for i, s := range t.sources {
		info, err := infos[i].Result()
		switch {
		case isNoGroup(err):
			if s.existed {
				t.lost(s, errStreamGone)
			}
			*s = tailSource{channel: s.channel, key: s.key}
		case err == nil:
			t.compare(s, info, len(there[i].Val()) > 0)
		}
	}
	return nil
}

// errStreamGone is why a subscription without a group may have missed messages.
var errStreamGone = errors.New("the stream was deleted")

// compare finds out from a stream's state whether it was deleted, or trimmed too far, since the last look. there says
// whether the entry of the mark is still in it.
func (t *tail) compare(s *tailSource, info *goredis.XInfoStream, there bool) {
	last, _ := readID(info.LastGeneratedID)
	first, _ := readID(info.FirstEntry.ID)
	switch {
	case replaced(info, s.mark, there):
		t.lost(s, errStreamGone)
		if last.less(s.at) {
			s.at = entryID{} // the clock was set back
		}
	case s.at.less(s.last) && s.at.less(first) && !there && s.mark == s.at: // it was behind, and what it had last is gone
		t.lost(s, errRemoved)
	}
	s.existed, s.last, s.mark = true, last, s.at
	if last.less(s.at) || !there { // the next look is at what comes then
		s.mark = entryID{}
	}
}

func (t *tail) lost(s *tailSource, err error) {
	t.trouble.report(fmt.Errorf("channel %s: %w", s.channel, err), -1)
}

// fetch reads what is new, and waits for it.
func (t *tail) fetch(ctx context.Context) error {
	wait := time.Until(t.polled.Add(pollEvery))
	if len(t.waiting) > 0 {
		wait = min(wait, time.Until(t.waiting[0].at))
	}
	wait = max(wait, time.Millisecond)
	if len(t.sources) == 0 {
		sleep(ctx, wait)
		return nil
	}
	count := max(1, min(t.count, fetchBytes/t.size)/len(t.sources))
	args := []any{"xread", "count", count, "block", max(1, wait.Milliseconds()), "streams"}
	for _, s := range t.sources {
		args = append(args, s.key)
	}
	for _, s := range t.sources {
		args = append(args, s.at.String())
	}
	if err := t.buffer.do(ctx, t.client, args...); err != nil {
		return err
	}
	defer t.buffer.shrink()
	return t.take(t.buffer.b)
}

// take delivers what XREAD replied.
func (t *tail) take(raw []byte) error {
	r := replyReader{raw}
	var b batch
	n := 0
	err := r.streams(func(key []byte, e *rawEntry) {
		s := t.byKey[string(key)]
		if s == nil {
			return
		}
		n++
		had := len(b.ids)
		t.read.read(&b, s.channel, s.key, 0, e)
		if len(b.ids) == had {
			return
		}
		d := &b.deliveries[had]
		s.at, s.existed = b.ids[had], true
		if s.mark == (entryID{}) {
			s.mark = s.at
		}
		if wait := early(&d.Message, time.Now()); wait > 0 {
			t.wait(waiting{d.NotBefore, s, b.ids[had]})
			b.ids, b.deliveries = b.ids[:had], b.deliveries[:had]
		}
	})
	if n > 0 {
		t.size = max(64, (3*t.size+len(raw)/n)/4)
	}
	t.deliver(b.deliveries)
	return err
}

func (t *tail) deliver(list []brokers.Delivery) {
	for part := range slices.Chunk(list, min(deliverAtOnce, t.count)) {
		select {
		case <-t.conn.late:
			now := time.Now()
			t.sink.Gap(brokers.Gap{Since: now, Until: now, Reason: brokers.GapOverflow, Missed: int64(len(part))})
		default:
			t.sink.Deliver(part)
		}
	}
}

// wait keeps a message for later.
func (t *tail) wait(w waiting) {
	i, _ := slices.BinarySearchFunc(t.waiting, w, func(a, b waiting) int { return a.at.Compare(b.at) })
	t.waiting = slices.Insert(t.waiting, i, w)
}

// deliverDue delivers the messages that have waited long enough.
func (t *tail) deliverDue(ctx context.Context) error {
	for len(t.waiting) > 0 && !t.waiting[0].at.After(time.Now()) {
		w := t.waiting[0]
		id := w.id.String()
		raw, err := rawDo(ctx, t.client, "xrange", w.source.key, id, id)
		if err != nil {
			return err
		}
		t.waiting = t.waiting[1:]
		var b batch
		r := replyReader{raw}
		if err := r.entries(func(e *rawEntry) { t.read.read(&b, w.source.channel, w.source.key, 0, e) }); err != nil {
			return err
		}
		if len(b.deliveries) == 0 {
			t.lost(w.source, errRemoved)
		}
		t.deliver(b.deliveries)
	}
	return nil
}
