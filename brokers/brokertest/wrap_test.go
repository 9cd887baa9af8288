package brokertest

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
)

// Names for what a wrapper passes on to.
type (
	publishFunc   = func(ctx context.Context, msgs []brokers.Message) error
	subscribeFunc = func(ctx context.Context, s brokers.Subscription, sink brokers.Sink) error
	closeFunc     = func(ctx context.Context) error
	deliverFunc   = func(batch []brokers.Delivery)
)

// A wrapped connection behaves like the one inside except where a function says otherwise.
type wrapped struct {
	brokers.Conn
	caps      func(brokers.Capabilities) brokers.Capabilities
	publish   func(ctx context.Context, msgs []brokers.Message, next publishFunc) error
	subscribe func(ctx context.Context, s brokers.Subscription, sink brokers.Sink, next subscribeFunc) error
	deliver   func(batch []brokers.Delivery, next deliverFunc)
	settle    func(list []brokers.Settlement) []brokers.Settlement
	close     func(ctx context.Context, next closeFunc) error
	// readings says that they are passed on, and local that it is a brokers.Local.
	readings, local bool
}

// conn is w as it is used.
func (w *wrapped) conn() brokers.Conn {
	if w.local {
		return localConn{w}
	}
	return w
}

type localConn struct{ *wrapped }

func (localConn) PassesReadings() {}

// withoutReadings returns msgs as they come from a wire.
func withoutReadings(msgs []brokers.Message) []brokers.Message {
	if !slices.ContainsFunc(msgs, func(m brokers.Message) bool { return m.Reading != nil }) {
		return msgs
	}
	msgs = slices.Clone(msgs)
	for i := range msgs {
		msgs[i].Reading = nil
	}
	return msgs
}

func (w *wrapped) Capabilities() brokers.Capabilities {
	if w.caps == nil {
		return w.Conn.Capabilities()
	}
	return w.caps(w.Conn.Capabilities())
}

func (w *wrapped) Publish(ctx context.Context, msgs []brokers.Message) error {
	if !w.readings {
		msgs = withoutReadings(msgs)
	}
	if w.publish == nil {
		return w.Conn.Publish(ctx, msgs)
	}
	return w.publish(ctx, msgs, w.Conn.Publish)
}

func (w *wrapped) Subscribe(ctx context.Context, s brokers.Subscription, sink brokers.Sink) error {
	if w.settle != nil {
		next := sink
		sink = &tap{Sink: next, deliver: func(batch []brokers.Delivery, _ deliverFunc) {
			next.Deliver(w.tapSettlers(batch))
		}}
	}
	if w.deliver != nil {
		sink = &tap{Sink: sink, deliver: w.deliver}
	}
	if w.subscribe == nil {
		return w.Conn.Subscribe(ctx, s, sink)
	}
	return w.subscribe(ctx, s, sink, w.Conn.Subscribe)
}

func (w *wrapped) Close(ctx context.Context) error {
	if w.close == nil {
		return w.Conn.Close(ctx)
	}
	return w.close(ctx, w.Conn.Close)
}

// A tap is a sink that changes what passes.
type tap struct {
	brokers.Sink
	ready   func(next func())
	deliver func(batch []brokers.Delivery, next deliverFunc)
}

func (t *tap) Ready() {
	if t.ready == nil {
		t.Sink.Ready()
		return
	}
	t.ready(t.Sink.Ready)
}

func (t *tap) Deliver(batch []brokers.Delivery) {
	if t.deliver == nil {
		t.Sink.Deliver(batch)
		return
	}
	t.deliver(batch, t.Sink.Deliver)
}

func (w *wrapped) tapSettlers(batch []brokers.Delivery) []brokers.Delivery {
	batch = slices.Clone(batch)
	for i := range batch {
		if batch[i].Settler != nil {
			batch[i].Settler = tapSettler{batch[i].Settler, w}
		}
	}
	return batch
}

type tapSettler struct {
	brokers.Settler
	w *wrapped
}

func (s tapSettler) Settle(ctx context.Context, list []brokers.Settlement) error {
	return s.Settler.Settle(ctx, s.w.settle(slices.Clone(list)))
}

// ackAll settles what a broken broker swallows, so that it goes on.
func ackAll(batch ...brokers.Delivery) { _ = settle(context.Background(), batch, brokers.Ack, 0) }

// A server is what the connections of a fake broker have in common, and what faults happen to.
type server struct {
	mu             sync.Mutex
	killed, frozen bool
	// interrupted is closed, and made anew, when connections break.
	interrupted chan struct{}
	seen        map[string]bool // ID and channel, for deduplication
	log         []brokers.Message
	groups      map[string]bool
}

func newServer() *server {
	return &server{interrupted: make(chan struct{}), seen: make(map[string]bool), groups: make(map[string]bool)}
}

func (s *server) locked(f func()) func() error {
	return func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		f()
		return nil
	}
}

// harness adds the server's faults to h.
func (s *server) harness(h Harness) Harness {
	interrupt := func() {
		close(s.interrupted)
		s.interrupted = make(chan struct{})
	}
	h.Kill = s.locked(func() { s.killed = true })
	h.Restart = s.locked(func() {
		if s.killed {
			s.killed = false
			interrupt()
		}
	})
	h.Freeze = s.locked(func() { s.frozen = true })
	h.Thaw = s.locked(func() { s.frozen = false })
	h.Cut = s.locked(interrupt)
	h.Lease, h.Churn = 20*time.Millisecond, 50*time.Millisecond
	h.Delete = map[string]func(channel, group string) error{"queue": func(string, string) error { return nil }}
	h.Consume = consumeHere(h.Open)
	return h
}

// consumeHere is a Harness.Consume in this process: what it has is given back when it is killed.
func consumeHere(open func(context.Context) (brokers.Conn, error)) func(
	context.Context, brokers.Subscription, func([]byte) bool) (func() error, error) {
	return func(ctx context.Context, s brokers.Subscription, handle func([]byte) bool) (func() error, error) {
		conn, err := open(ctx)
		if err != nil {
			return nil, err
		}
		sink := &tap{Sink: deaf{}, deliver: func(batch []brokers.Delivery, _ deliverFunc) {
			for i := range batch {
				if handle(batch[i].Body) {
					ackAll(batch[i])
				}
			}
		}}
		ended := closedWhen(func() { _ = conn.Subscribe(ctx, s, sink) })
		return func() error {
			dead, cancel := context.WithCancel(ctx)
			cancel()
			_ = conn.Close(dead)
			<-ended
			return nil
		}, nil
	}
}

// A deaf sink ignores everything.
type deaf struct{}

func (deaf) Ready()                     {}
func (deaf) Gap(brokers.Gap)            {}
func (deaf) Deliver([]brokers.Delivery) {}

// state returns whether the server is killed, whether it is frozen, and what is closed at the next interruption.
func (s *server) state() (killed, frozen bool, interrupted <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.killed, s.frozen, s.interrupted
}
