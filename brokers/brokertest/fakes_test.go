package brokertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/brokers/memory"
)

var (
	errRefused  = errors.New("connection refused")
	errTooLarge = errors.New("body too large")
	brokerCount atomic.Int64
)

// A kind makes harnesses of one good broker. Together the kinds make every case apply at least once.
type kind struct {
	name string
	wrap func(*server, brokers.Conn) brokers.Conn
}

var (
	// plain is the memory driver as it is.
	plain = kind{"plain", func(_ *server, c brokers.Conn) brokers.Conn { return c }}
	// rich promises everything, as a durable broker with faults does.
	rich = kind{"rich", richConn}
	// modest promises next to nothing: at most once, nothing to settle, drops and reports what a slow sink misses.
	modest = kind{"modest", modestConn}
)

// harness returns a new broker of the kind, and what wraps each of its connections.
func (k kind) harness(t *testing.T, wrap func(brokers.Conn) brokers.Conn) Harness {
	name := memory.WithName(fmt.Sprint("fake-", brokerCount.Add(1)))
	keep := memory.New(name)
	t.Cleanup(func() { _ = keep.Close(context.Background()) })
	s := newServer()
	queue := 2000
	if k.name == modest.name {
		queue = 500 // what it does not drop by itself waits here
	}
	h := Harness{
		Open: func(context.Context) (brokers.Conn, error) {
			conn := k.wrap(s, memory.New(name, memory.WithQueue(queue, 16<<20)))
			if wrap != nil {
				conn = wrap(conn)
			}
			return conn, nil
		},
		Inject: func(channel string, body []byte) error {
			if brokers.CheckChannel(channel) != nil {
				return nil
			}
			return keep.Publish(context.Background(), []brokers.Message{{Channel: channel, Body: body}})
		},
		Backlog: 4000, Carries: AllFields,
	}
	if k.name == plain.name {
		return h
	}
	return s.harness(h)
}

// disturbed does what the server's state does to a Publish, and reports whether it did.
func (s *server) disturbed(ctx context.Context, n int) (bool, error) {
	killed, frozen, _ := s.state()
	switch {
	case killed:
		return true, brokers.FailAll(n, brokers.NotSent, errRefused)
	case frozen:
		<-ctx.Done()
		return true, brokers.FailAll(n, brokers.Unknown, ctx.Err())
	}
	return false, nil
}

const richMaxBytes = 2 << 20

func richConn(s *server, inner brokers.Conn) brokers.Conn {
	return &wrapped{
		Conn: inner,
		caps: func(c brokers.Capabilities) brokers.Capabilities {
			c.Durable, c.Order, c.Replay, c.Dedup, c.MaxBytes = true, brokers.OrderChannel, true, true, richMaxBytes
			return c
		},
		publish: func(ctx context.Context, msgs []brokers.Message, next publishFunc) error {
			if hit, err := s.disturbed(ctx, len(msgs)); hit {
				return err
			}
			return s.publishNew(ctx, msgs, next)
		},
		subscribe: func(ctx context.Context, sub brokers.Subscription, sink brokers.Sink, next subscribeFunc) error {
			old := s.retained(sub)
			return next(ctx, sub, &tap{Sink: sink, ready: func(ready func()) {
				ready()
				if len(old) > 0 {
					sink.Deliver(old)
				}
			}})
		},
	}
}

// publishNew publishes what is neither too large nor a repetition.
func (s *server) publishNew(ctx context.Context, msgs []brokers.Message, next publishFunc) error {
	var failed []brokers.MessageError
	var rest []brokers.Message
	var index []int
	for i, m := range msgs {
		id := m.ID + "|" + m.Channel
		s.mu.Lock()
		again := s.seen[id] && m.ID != ""
		s.mu.Unlock()
		switch {
		case len(m.Body) > richMaxBytes:
			failed = append(failed, brokers.MessageError{Index: i, Outcome: brokers.Rejected, Err: errTooLarge})
		case !again:
			rest, index = append(rest, m), append(index, i)
		}
	}
	taken := make([]bool, len(rest))
	for i := range taken {
		taken[i] = true
	}
	var be *brokers.BatchError
	if errors.As(next(ctx, rest), &be) {
		for _, f := range be.Failed {
			taken[f.Index] = false
			failed = append(failed, brokers.MessageError{Index: index[f.Index], Outcome: f.Outcome, Err: f.Err})
		}
	}
	s.remember(rest, taken)
	if len(failed) == 0 {
		return nil
	}
	slices.SortFunc(failed, func(a, b brokers.MessageError) int { return a.Index - b.Index })
	return &brokers.BatchError{Failed: failed}
}

func (s *server) remember(msgs []brokers.Message, taken []bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, m := range msgs {
		if taken[i] {
			s.seen[m.ID+"|"+m.Channel] = true
			m.Body = slices.Clone(m.Body)
			s.log = append(s.log, m)
		}
	}
}

// retained returns what a group that is new gets first.
func (s *server) retained(sub brokers.Subscription) (out []brokers.Delivery) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sub.Group == "" || s.groups[sub.Group] {
		return nil
	}
	s.groups[sub.Group] = true
	for _, m := range s.log {
		if sub.Start == brokers.StartFirst && slices.Contains(sub.Channels, m.Channel) {
			out = append(out, brokers.Delivery{Message: m, Attempt: 1})
		}
	}
	return out
}

func modestConn(s *server, inner brokers.Conn) brokers.Conn {
	return &wrapped{
		Conn: inner,
		caps: func(brokers.Capabilities) brokers.Capabilities { return brokers.Capabilities{Order: brokers.OrderKey} },
		publish: func(ctx context.Context, msgs []brokers.Message, next publishFunc) error {
			if hit, err := s.disturbed(ctx, len(msgs)); hit {
				return err
			}
			return next(ctx, msgs)
		},
		subscribe: func(ctx context.Context, sub brokers.Subscription, sink brokers.Sink, next subscribeFunc) error {
			if err := modestRefusal(sub); err != nil {
				return err
			}
			return (&lossy{server: s, sink: sink, changed: make(chan struct{}, 1)}).run(ctx, sub, next)
		},
	}
}

func modestRefusal(sub brokers.Subscription) error {
	if sub.Group != "" {
		return &brokers.CapabilityError{Subscription: sub.Name, Needs: "consumer groups", Broker: "modest"}
	}
	for _, ch := range sub.Channels {
		if p, err := brokers.ParsePattern(ch); err == nil && !p.Literal() {
			return &brokers.CapabilityError{Subscription: sub.Name, Needs: "wildcards", Broker: "modest"}
		}
	}
	return nil
}

// A lossy subscription buffers for a slow sink, drops what does not fit, and reports it.
type lossy struct {
	server  *server
	sink    brokers.Sink
	changed chan struct{}

	mu     sync.Mutex
	buffer []brokers.Delivery
	missed int64
}

func (l *lossy) run(ctx context.Context, sub brokers.Subscription, next subscribeFunc) error {
	done := make(chan error, 1)
	ready := make(chan struct{})
	_, _, interrupted := l.server.state()
	go func() {
		done <- next(ctx, sub, &tap{Sink: l.sink,
			ready:   func(next func()) { next(); close(ready) },
			deliver: func(batch []brokers.Delivery, _ deliverFunc) { l.put(batch) },
		})
	}()
	since := time.Now()
	for {
		select {
		case err := <-done:
			return err
		case <-l.changed:
		case <-interrupted:
			_, _, interrupted = l.server.state()
			l.sink.Gap(brokers.Gap{Since: since, Until: time.Now(), Reason: brokers.GapReconnect, Missed: -1})
		}
		batch, missed := l.takeAll()
		if missed > 0 {
			l.sink.Gap(brokers.Gap{Since: since, Until: time.Now(), Reason: brokers.GapOverflow, Missed: missed})
		}
		if len(batch) > 0 {
			<-ready
			l.sink.Deliver(batch)
		}
	}
}

func (l *lossy) put(batch []brokers.Delivery) {
	ackAll(batch...)
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, d := range batch {
		if len(l.buffer) >= 1000 {
			l.missed++
			continue
		}
		d.Settler, d.Token, d.Attempt = nil, brokers.Token{}, 0
		l.buffer = append(l.buffer, d)
	}
	select {
	case l.changed <- struct{}{}:
	default:
	}
}

func (l *lossy) takeAll() ([]brokers.Delivery, int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	batch, missed := l.buffer, l.missed
	l.buffer, l.missed = nil, 0
	return batch, missed
}
