package brokertest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
)

var closeCases = []Case{
	{
		Name:        "a second Close does nothing",
		Explanation: "Several owners close a connection: a defer, a signal handler, a test's cleanup.",
		run:         closeTwice,
	},
	{
		Name:        "after Close, Publish marks every message NotSent with ErrClosed, and Subscribe returns ErrClosed",
		Explanation: "The bus must know that nothing was sent, and that trying again on this connection is no use.",
		run:         closedConn,
	},
	{
		Name: "Close is prompt where nothing is left to settle, and Subscribe returns nil",
		Explanation: "A deployment waits for it. A reader of kafka-go that is idle holds Close for ten seconds " +
			"unless it is told otherwise.",
		run: closeIsPrompt,
	},
	{
		Name:        "Close waits for what is being handled",
		Explanation: "An orderly shutdown settles what handlers finish; an event that was handled and not acked comes again.",
		run:         closeWaits,
	},
	{
		Name:        "Close returns by its deadline although a handler never settles",
		Explanation: "One stuck handler must not keep a process alive until its supervisor kills it.",
		run:         closeWithUnsettled,
	},
	{
		Name:        "Close returns by its deadline although a sink blocks",
		Explanation: "As above, where the stuck handler has also filled every buffer up to the sink.",
		run:         closeWithBlockedSink,
	},
	{
		Name:        "Close of one connection leaves another alone",
		Explanation: "Two buses in one process share nothing but the broker.",
		run:         closeLeavesOthers,
	},
	{
		Name: "Publish, Subscribe and Close at the same time",
		Explanation: "A Conn is safe for concurrent use, and shutdown comes when it comes: no panic, no race, no " +
			"call that hangs, and no message that is said to be taken after all.",
		run: closeInTheMiddle,
	},
	{
		Name:        "Close returns by its deadline although the broker is gone",
		Explanation: "The last service that stops in an outage stops too, and what it could not send it says.",
		needs:       []need{canKill},
		run:         closeWithoutBroker,
	},
}

func closeWithoutBroker(w *world) {
	conn, ch := w.open(), w.h.Channel()
	sub := w.subscribe(conn, brokers.Subscription{Channels: []string{ch}, Group: w.group()}, unsettled)
	m := w.message(ch, "k")
	w.publish(conn, m)
	sub.waitFor("a message arrives before the broker dies", m)
	w.fault("Kill", w.h.Kill)
	w.undo = append(w.undo, func() { _ = w.h.Restart() })
	batch := w.messages(10, ch)
	published := make(chan struct{})
	var err error
	ctx := w.within(w.h.Patience)
	go func() {
		defer close(published)
		err = conn.Publish(ctx, batch)
	}()
	w.closesBy(conn, 500*time.Millisecond)
	w.await("Publish returns once its connection is closed", w.h.Patience, published)
	for i, o := range w.outcomes(len(batch), err) {
		if o != brokers.NotSent && o != brokers.Unknown {
			w.Errorf("message %d is %v although the broker was gone", i, o)
		}
	}
	w.await("Subscribe returns after Close", w.h.Patience, sub.done)
}

// soon bounds a Close that has nothing to wait for: below the ten seconds of a client that waits for its idle reader.
func (w *world) soon() time.Duration { return min(8*time.Second, w.h.Patience) }

func closeTwice(w *world) {
	conn := w.open()
	for i := range 2 {
		if err := w.closeConn(conn, w.h.Patience); err != nil {
			w.Errorf("Close %d of an idle connection: %v", i+1, err)
		}
	}
}

func closedConn(w *world) {
	conn, ch := w.open(), w.h.Channel()
	if err := conn.Close(w.within(w.h.Patience)); err != nil {
		w.Errorf("Close of an idle connection: %v", err)
	}
	batch := w.messages(3, ch)
	err := conn.Publish(w.ctx, batch)
	for i, o := range w.outcomes(len(batch), err) {
		if o != brokers.NotSent {
			w.Errorf("message %d is %v after Close", i, o)
		}
	}
	if !errors.Is(err, brokers.ErrClosed) {
		w.Errorf("Publish after Close returned %v, wants ErrClosed", err)
	}
	sub := w.start(conn, brokers.Subscription{Channels: []string{ch}})
	w.await("Subscribe returns after Close", w.h.Patience, sub.done)
	if !errors.Is(sub.err, brokers.ErrClosed) {
		w.Errorf("Subscribe after Close returned %v, wants ErrClosed", sub.err)
	}
	if conn.Retryable(brokers.ErrClosed) {
		w.Errorf("ErrClosed is said to be retryable")
	}
}

func closeIsPrompt(w *world) {
	conn, ch := w.open(), w.h.Channel()
	sub := w.subscribe(conn, brokers.Subscription{Channels: []string{ch}})
	idle := w.subscribe(conn, brokers.Subscription{Channels: []string{w.h.Channel()}})
	msgs := w.messages(50, ch)
	w.publish(conn, msgs...)
	sub.waitFor("all messages arrive", msgs...)
	if err := w.closeConn(conn, w.soon()); err != nil {
		w.Errorf("Close: %v", err)
	}
	for _, s := range []*subscriber{sub, idle} {
		w.await("Subscribe returns after Close", w.h.Patience, s.done)
		if s.err != nil {
			w.Errorf("Subscribe returned %v when the connection was closed", s.err)
		}
	}
}

func closeWaits(w *world) {
	conn, ch := w.open(), w.h.Channel()
	sub := w.subscribe(conn, brokers.Subscription{Channels: []string{ch}, Group: w.group()}, unsettled)
	m := w.message(ch, "k")
	w.publish(conn, m)
	d := sub.waitFor("the message arrives", m)[0].Delivery
	closed := make(chan struct{})
	ctx := w.within(w.h.Patience)
	var err error
	go func() {
		defer close(closed)
		err = conn.Close(ctx)
	}()
	if d.Settler != nil {
		if w.happens(closed) {
			w.Fatalf("Close returned %v while a delivery was not settled", err)
		}
		if err := settle(w.ctx, []brokers.Delivery{d}, brokers.Ack, 0); err != nil {
			w.Errorf("Settle while Close waits: %v", err)
		}
	}
	w.await("Close returns once all is settled", w.soon(), closed)
	if err != nil {
		w.Errorf("Close returned %v although all is settled", err)
	}
}

func closeWithUnsettled(w *world) {
	conn, ch := w.open(), w.h.Channel()
	sub := w.subscribe(conn, brokers.Subscription{Channels: []string{ch}, Group: w.group()}, unsettled)
	m := w.message(ch, "k")
	w.publish(conn, m)
	sub.waitFor("the message arrives", m)
	w.closesBy(conn, 200*time.Millisecond)
	w.await("Subscribe returns once Close's deadline has passed", w.h.Patience, sub.done)
	if sub.err != nil {
		w.Errorf("Subscribe returned %v", sub.err)
	}
}

func closeWithBlockedSink(w *world) {
	conn, ch := w.open(), w.h.Channel()
	release := make(chan struct{})
	sub := w.subscribe(conn, brokers.Subscription{Channels: []string{ch}, Group: w.group()}, on(func([]brokers.Delivery) {
		<-release
	}))
	w.publish(conn, w.messages(100, ch)...)
	sub.waitCount("a message arrives", 1)
	w.closesBy(conn, 200*time.Millisecond)
	close(release)
	w.await("Subscribe returns once the sink goes on", w.h.Patience, sub.done)
}

// closesBy fails unless Close returns by its deadline.
func (w *world) closesBy(conn brokers.Conn, limit time.Duration) {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.ctx, limit)
	defer cancel()
	_ = w.do("Close returns by its deadline", limit+w.promptly(), func() error { return conn.Close(ctx) })
}

func closeLeavesOthers(w *world) {
	conn, other, ch := w.open(), w.open(), w.h.Channel()
	sub := w.subscribe(other, brokers.Subscription{Channels: []string{ch}})
	_ = w.subscribe(conn, brokers.Subscription{Channels: []string{ch}})
	if err := conn.Close(w.within(w.h.Patience)); err != nil {
		w.Errorf("Close: %v", err)
	}
	msgs := w.messages(20, ch)
	w.publish(other, msgs...)
	w.exactly(sub.waitFor("messages arrive on the other connection", msgs...), msgs)
}

func closeInTheMiddle(w *world) {
	for range 5 {
		r := &closeRace{w: w, conn: w.open(), ch: w.h.Channel(), began: make(chan struct{}, 4)}
		r.closing, r.closed = make(chan struct{}), make(chan struct{})
		watcher := w.subscribe(w.open(), brokers.Subscription{Channels: []string{r.ch}})
		var wg sync.WaitGroup
		for range cap(r.began) {
			batches := slices.Collect(slices.Chunk(w.messages(50*5, r.ch), 5))
			wg.Go(func() { r.publish(batches) })
			wg.Go(r.subscribe)
		}
		for range cap(r.began) {
			select {
			case <-r.began:
			case <-w.ctx.Done():
			}
		}
		close(r.closing)
		_ = w.closeConn(r.conn, w.h.Patience)
		close(r.closed)
		_ = w.do("all Publish and Subscribe calls return", w.h.Patience, func() error { wg.Wait(); return nil })
		watcher.waitFor("what was taken arrives", r.taken...)
	}
}

// A closeRace is one connection that is closed while it is used.
type closeRace struct {
	w               *world
	conn            brokers.Conn
	ch              string
	began           chan struct{} // gets one for each publisher that has begun
	closing, closed chan struct{}

	mu    sync.Mutex
	taken []brokers.Message
}

// publish publishes the first half of the batches before Close, the others during Close, and the last one after it.
func (r *closeRace) publish(batches [][]brokers.Message) {
	for i, batch := range batches {
		switch i {
		case 1:
			r.began <- struct{}{}
		case len(batches) / 2:
			r.reach(r.closing)
		case len(batches) - 1:
			r.reach(r.closed)
		}
		if r.conn.Publish(r.w.ctx, batch) == nil {
			r.mu.Lock()
			r.taken = append(r.taken, batch...)
			r.mu.Unlock()
		}
	}
}

func (r *closeRace) reach(stage <-chan struct{}) {
	select {
	case <-stage:
	case <-r.w.ctx.Done():
	}
}

func (r *closeRace) subscribe() {
	s := &subscriber{w: r.w, ready: make(chan struct{}), changed: make(chan struct{})}
	_ = r.conn.Subscribe(r.w.ctx, brokers.Subscription{Name: "racer", Channels: []string{r.ch}}, s)
}
