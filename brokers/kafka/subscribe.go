package kafka

import (
	"context"
	"slices"
	"sync"
	"time"

	kafkago "github.com/segmentio/kafka-go"

	"github.com/eventbus-go/eventbus/brokers"
)

// lookEvery is how often a subscription looks for topics and partitions that are new. Looking costs no request: the
// client renews its metadata by itself.
const lookEvery = 500 * time.Millisecond

// leaveTimeout bounds the last commit and the leaving of a group.
const leaveTimeout = 3 * time.Second

// Subscribe feeds sink on the calling goroutine. The contract is Conn's.
func (c *conn) Subscribe(ctx context.Context, spec brokers.Subscription, sink brokers.Sink) (err error) {
	if !c.calls.Enter() {
		return brokers.ErrClosed
	}
	defer c.calls.Leave()
	s, err := c.newSubscription(spec)
	if err != nil {
		return err
	}
	if ctx.Err() != nil {
		return nil
	}
	c.mu.Lock()
	c.subs[s] = struct{}{}
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.subs, s)
	}()
	// What keeps the subscription going outlives ctx: until everything is settled.
	k := newKeeper(context.WithoutCancel(ctx), s)
	go k.run()
	defer func() { err = k.end() }()
	s.feed(ctx, sink, k.failed)
	s.drain(k)
	return nil
}

// A keeper is the goroutine that keeps a subscription's partitions: as a member of its group, or by looking for topics.
type keeper struct {
	s      *subscription
	ctx    context.Context // of all requests but the last ones
	cancel context.CancelFunc
	base   context.Context
	ending chan struct{} // closed once nothing is to be delivered any more
	failed chan struct{} // closed where the subscription cannot be had: then err says why
	done   chan struct{}
	once   sync.Once
	err    error // set once

	trouble string        // what was reported last and still is
	wait    time.Duration // before the next attempt
}

func newKeeper(ctx context.Context, s *subscription) *keeper {
	k := &keeper{
		s: s, base: ctx, ending: make(chan struct{}), failed: make(chan struct{}), done: make(chan struct{}),
	}
	k.ctx, k.cancel = context.WithCancel(ctx)
	s.fail = k.fail
	return k
}

// fail ends the subscription with err.
func (k *keeper) fail(err error) {
	k.once.Do(func() {
		k.err = err
		close(k.failed)
	})
}

func (k *keeper) run() {
	defer close(k.done)
	err := brokers.Contain(func() error {
		if k.s.spec.Group == "" {
			return (&tail{k: k, s: k.s}).run()
		}
		return newMember(k).run()
	})
	if err != nil {
		k.fail(err)
	}
}

// end commits, leaves the group, waits for the goroutine and returns why the subscription could not be had.
func (k *keeper) end() error {
	close(k.ending)
	k.cancel()
	<-k.done
	k.s.stop()
	return k.err
}

// pause waits for d or the end, and reports whether it was d.
func (k *keeper) pause(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-k.ending:
		return false
	}
}

// feed delivers until ctx ends, the connection closes or the subscription fails.
func (s *subscription) feed(ctx context.Context, sink brokers.Sink, failed <-chan struct{}) {
	select {
	case <-s.ready:
		sink.Ready()
	case <-ctx.Done():
		return
	case <-s.c.closing:
		return
	case <-failed:
		return
	}
	for ctx.Err() == nil && !isClosed(s.c.closing) && !isClosed(failed) {
		gaps, batch := s.take()
		for _, g := range gaps {
			sink.Gap(g)
		}
		if len(batch) > 0 {
			sink.Deliver(batch)
			continue
		}
		if len(gaps) > 0 {
			continue
		}
		select {
		case <-s.woken:
		case <-ctx.Done():
		case <-s.c.closing:
		case <-failed:
		}
	}
}

// drain waits until every delivery is settled or Close's deadline has passed.
func (s *subscription) drain(k *keeper) {
	for s.pauseForGood(); s.unsettled() > 0; {
		select {
		case <-s.settled():
		case <-s.c.late:
			return
		case <-k.failed:
			return
		}
	}
}

// A tail is the keeper of a subscription without a group: it has all partitions of the topics that it wants, begins at the
// end of those that are there when it begins, and at the beginning of those that come later.
type tail struct {
	k     *keeper
	s     *subscription
	known map[tp]bool
	fetch *fetchers
}

func (t *tail) run() error {
	t.known = make(map[tp]bool)
	t.fetch = t.s.startFetching(t.k.ctx)
	defer t.fetch.stop()
	for {
		wait := lookEvery
		if err := t.look(); err == nil {
			t.k.well()
		} else if err := t.k.judge(err); err != nil {
			return err
		} else {
			wait = t.k.wait
		}
		if !t.k.pause(wait) {
			return nil
		}
	}
}

// look takes over partitions that are new.
func (t *tail) look() error {
	topics, err := t.s.topics(t.k.ctx)
	if err != nil {
		return err
	}
	var fresh []tp
	for _, name := range t.s.wanted(topics) {
		for _, id := range topics[name].ids {
			if at := (tp{name, id}); !t.known[at] {
				fresh = append(fresh, at)
			}
		}
	}
	for at := range t.known { // a topic that comes back is another one
		if topics[at.topic] == nil {
			delete(t.known, at)
			t.s.remove(at)
		}
	}
	which := int64(kafkago.LastOffset)
	if isClosed(t.s.ready) {
		which = kafkago.FirstOffset
	}
	offsets, err := t.s.c.offsets(t.k.ctx, fresh, which)
	if err != nil {
		return err
	}
	var starts []start
	for _, at := range fresh {
		t.known[at] = true
		starts = append(starts, start{tp: at, leader: topics[at.topic].leaders[at.id], next: offsets[at], committed: -1})
	}
	t.s.add(starts)
	t.fetch.lead(topics)
	return nil
}

// topics returns all topics of the cluster, once those that the subscription names are there.
func (s *subscription) topics(ctx context.Context) (map[string]*topic, error) {
	topics, failed, err := s.c.cluster.ensure(ctx, s.literals())
	if err != nil {
		return nil, err
	}
	for _, err := range failed {
		return nil, err
	}
	return topics, nil
}

// wanted returns the names of the topics that the subscription wants, sorted.
func (s *subscription) wanted(topics map[string]*topic) []string {
	var out []string
	for name := range topics {
		if s.wants(name) {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}
