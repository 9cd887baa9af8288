package brokertest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
)

// A subscriber is a sink that records what it gets, and the Subscribe call that feeds it.
type subscriber struct {
	w    *world
	name string
	stop context.CancelFunc
	// ready is closed by Ready; done when Subscribe has returned err.
	ready, done chan struct{}
	err         error
	// onDeliver, if set, decides what becomes of a batch instead of acking it at once.
	onDeliver func(batch []brokers.Delivery)
	// forgets says that onDeliver keeps what is to be kept, since there is much of it.
	forgets bool
	busy    atomic.Bool

	mu      sync.Mutex
	got     []arrival
	gaps    []brokers.Gap
	wrong   []string
	changed chan struct{}
}

// An arrival is a delivery and when it came.
type arrival struct {
	brokers.Delivery
	at time.Time
}

// subscribe starts a subscription and waits until it is ready. Each option changes the subscriber before it starts.
func (w *world) subscribe(conn brokers.Conn, s brokers.Subscription, opts ...func(*subscriber)) *subscriber {
	w.Helper()
	sub := w.start(conn, s, opts...)
	sub.awaitReady()
	return sub
}

// start starts a subscription without waiting for anything.
func (w *world) start(conn brokers.Conn, s brokers.Subscription, opts ...func(*subscriber)) *subscriber {
	if s.Name == "" {
		s.Name = "brokertest"
	}
	ctx, cancel := context.WithCancel(w.ctx)
	sub := &subscriber{
		w: w, name: s.Name, stop: cancel,
		ready: make(chan struct{}), done: make(chan struct{}), changed: make(chan struct{}),
	}
	for _, opt := range opts {
		opt(sub)
	}
	go func() {
		defer close(sub.done)
		sub.err = conn.Subscribe(ctx, s, sub)
	}()
	w.undo = append(w.undo, cancel)
	return sub
}

func (s *subscriber) awaitReady() {
	s.w.Helper()
	deadline := newCountdown(s.w.h.Patience)
	defer deadline.stop()
	for {
		select {
		case <-s.ready:
			return
		case <-s.done:
			s.w.Fatalf("Subscribe returned before Ready: %v", s.err)
		case <-deadline.ticker.C:
			if deadline.over() {
				s.w.Fatalf("Ready was not called within %v", s.w.h.Patience)
			}
		}
	}
}

// on returns an option that gives each batch to f, which settles it, or not.
func on(f func(batch []brokers.Delivery)) func(*subscriber) {
	return func(s *subscriber) { s.onDeliver = f }
}

// unsettled is an option that settles nothing.
func unsettled(s *subscriber) { s.onDeliver = func([]brokers.Delivery) {} }

// Ready, Gap and Deliver are the Sink. They check what a sink may rely on.
func (s *subscriber) Ready() {
	defer s.enter("Ready")()
	if isClosed(s.ready) {
		s.complain("Ready was called twice")
		return
	}
	close(s.ready)
}

func (s *subscriber) Gap(g brokers.Gap) {
	defer s.enter("Gap")()
	switch {
	case g.Missed < -1:
		s.complain("a gap has missed a negative number")
	case g.Reason != brokers.GapReconnect && g.Reason != brokers.GapOverflow:
		s.complain("a gap has the unknown reason " + g.Reason)
	case g.Until.Before(g.Since):
		s.complain("a gap ends before it begins")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gaps = append(s.gaps, g)
	s.change()
}

func (s *subscriber) Deliver(batch []brokers.Delivery) {
	defer s.enter("Deliver")()
	if !isClosed(s.ready) {
		s.complain("Deliver was called before Ready")
	}
	if !s.forgets {
		s.record(batch)
	}
	if s.onDeliver != nil {
		s.onDeliver(batch)
		return
	}
	if err := settle(s.w.ctx, batch, brokers.Ack, 0); err != nil && s.w.ctx.Err() == nil {
		s.complain("Settle: " + err.Error())
	}
}

func (s *subscriber) record(batch []brokers.Delivery) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range batch {
		s.got = append(s.got, arrival{d, now})
	}
	s.change()
}

// enter notes that the sink is being called, and complains of a second call at the same time.
func (s *subscriber) enter(method string) func() {
	if !s.busy.CompareAndSwap(false, true) {
		s.complain(method + " was called while another call of the sink was under way")
		return func() {}
	}
	return func() { s.busy.Store(false) }
}

func (s *subscriber) complain(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wrong = append(s.wrong, text)
	s.change()
}

// change wakes those who wait; s.mu is held.
func (s *subscriber) change() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// settle gives all deliveries of a batch one verdict, in one call per settler.
func settle(ctx context.Context, batch []brokers.Delivery, v brokers.Verdict, after time.Duration) error {
	var by brokers.Settler
	var list []brokers.Settlement
	for _, d := range batch {
		if d.Settler == nil {
			continue
		}
		if by != nil && d.Settler != by {
			if err := by.Settle(ctx, list); err != nil {
				return err
			}
			list = nil
		}
		by = d.Settler
		list = append(list, brokers.Settlement{Token: d.Token, Verdict: v, After: after})
	}
	if by == nil {
		return nil
	}
	return by.Settle(ctx, list)
}

// wait waits until ok, which is called with s.mu held, and fails with what was expected otherwise.
func (s *subscriber) wait(what string, ok func() bool) {
	s.w.Helper()
	deadline := newCountdown(s.w.h.Patience)
	defer deadline.stop()
	for {
		s.mu.Lock()
		good, wrong, changed := ok(), slices.Clone(s.wrong), s.changed
		s.mu.Unlock()
		if len(wrong) > 0 {
			s.w.Fatalf("%s", strings.Join(wrong, "; "))
		}
		if good {
			return
		}
		select {
		case <-changed:
		case <-deadline.ticker.C:
			if deadline.over() {
				s.w.Fatalf("%s: not after %v (%s)", what, s.w.h.Patience, s.summary())
			}
		}
	}
}

func (s *subscriber) summary() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	returned := "Subscribe is running"
	if isClosed(s.done) {
		returned = "Subscribe has returned " + errorText(s.err)
	}
	return fmt.Sprintf("%s and %s so far; %s", plural(len(s.got), "delivery", "deliveries"),
		plural(len(s.gaps), "gap", "gaps"), returned)
}

// waitFor waits for the messages and returns the arrivals so far.
func (s *subscriber) waitFor(what string, msgs ...brokers.Message) []arrival {
	s.w.Helper()
	s.wait(what, func() bool { return len(missing(s.got, msgs)) == 0 })
	return s.arrivals()
}

// waitCount waits for n deliveries.
func (s *subscriber) waitCount(what string, n int) []arrival {
	s.w.Helper()
	s.wait(what, func() bool { return len(s.got) >= n })
	return s.arrivals()
}

// end ends the subscription's context and returns what Subscribe returned.
func (s *subscriber) end() error {
	s.w.Helper()
	s.stop()
	s.w.await("Subscribe returns after its context ended", s.w.h.Patience, s.done)
	return s.err
}

func (s *subscriber) arrivals() []arrival {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.got)
}

func (s *subscriber) gapList() []brokers.Gap {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.gaps)
}

// complaints fails the case if the sink saw something that no sink may see.
func (s *subscriber) complaints() {
	s.w.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, text := range s.wrong {
		s.w.Errorf("%s", text)
	}
}
