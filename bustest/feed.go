package bustest

import (
	"context"
	"slices"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
)

// reorderedFor is how long a reordered delivery waits at most for those that are to overtake it.
const reorderedFor = time.Second

// A feed stands between the broker in memory and the sink of one subscription. Its state is guarded by turn, a channel and not a
// mutex, since virtual time passes while goroutines wait for a channel.
type feed struct {
	b    *Broker
	sink brokers.Sink
	ctx  context.Context // ends when no more is to be delivered

	turn  chan struct{} // has one element while nobody has it
	held  []*held       // by when they are due, the earliest first
	due   map[string]time.Time
	timer *time.Timer
	ended bool
}

// A held delivery waits for its time, or for others to overtake it.
type held struct {
	d      brokers.Delivery
	due    time.Time
	places int // how many are still to overtake it; 0 where it waits for its time alone
}

func newFeed(ctx context.Context, b *Broker, sink brokers.Sink) *feed {
	f := &feed{b: b, sink: sink, ctx: ctx, turn: make(chan struct{}, 1), due: make(map[string]time.Time)}
	f.turn <- struct{}{}
	return f
}

// Ready passes on that the subscription is confirmed.
func (f *feed) Ready() { f.sink.Ready() }

// Gap passes on what the broker in memory has missed.
func (f *feed) Gap(g brokers.Gap) {
	<-f.turn
	defer f.pass()
	f.sink.Gap(g)
}

func (f *feed) pass() { f.turn <- struct{}{} }

// Deliver hands over what the script leaves of a batch.
func (f *feed) Deliver(batch []brokers.Delivery) {
	f.awaitBroker()
	<-f.turn
	defer f.pass()
	var out []brokers.Delivery
	for _, d := range batch {
		out = f.script(out, f.wrap(d))
	}
	f.hand(out)
}

// awaitBroker returns once the broker is not away, or nothing is to be delivered any more.
func (f *feed) awaitBroker() {
	for left := f.b.awayFor(); left > 0 && f.ctx.Err() == nil; left = f.b.awayFor() {
		t := time.NewTimer(left)
		select {
		case <-t.C:
		case <-f.ctx.Done():
			t.Stop()
		}
	}
}

// script appends what becomes of one delivery to what is handed over now.
func (f *feed) script(out []brokers.Delivery, d brokers.Delivery) []brokers.Delivery {
	r, delay := f.b.decide(&d.Message)
	if r == nil {
		if until := f.due[d.Key]; d.Key != "" && time.Now().Before(until) {
			f.hold(d, until, 0) // behind those of its key
			return out
		}
		return f.overtake(append(out, d))
	}
	switch r.kind {
	case Dropped:
		_ = d.Settler.Settle(f.ctx, []brokers.Settlement{{Token: d.Token}}) // where that fails it comes again, and is decided about again
		f.sink.Gap(brokers.Gap{Since: time.Now(), Until: time.Now(), Reason: brokers.GapOverflow, Missed: 1})
	case Duplicated:
		again := d
		again.Token = brokers.Token{Ref: &handed{msg: d.Message}}
		return f.overtake(append(out, d, again))
	case Delayed:
		f.hold(d, time.Now().Add(delay), 0)
	case Reordered:
		f.hold(d, time.Now().Add(reorderedFor), r.places)
	}
	return out
}

// overtake appends what has been overtaken by enough others, after the last one of out.
func (f *feed) overtake(out []brokers.Delivery) []brokers.Delivery {
	f.held = slices.DeleteFunc(f.held, func(h *held) bool {
		if h.places == 0 {
			return false
		}
		h.places--
		if h.places == 0 {
			out = append(out, h.d)
		}
		return h.places == 0
	})
	return out
}

// hold keeps a delivery back.
func (f *feed) hold(d brokers.Delivery, due time.Time, places int) {
	if f.ended {
		f.giveBack(d)
		return
	}
	if places == 0 && d.Key != "" {
		if until := f.due[d.Key]; due.Before(until) {
			due = until
		}
		f.due[d.Key] = due
	}
	at, _ := slices.BinarySearchFunc(f.held, due, func(h *held, due time.Time) int {
		if h.due.After(due) {
			return 1
		}
		return -1 // behind those that are due at the same time
	})
	f.held = slices.Insert(f.held, at, &held{d, due, places})
	f.setTimer()
}

// setTimer sees to it that what is due first is handed over.
func (f *feed) setTimer() {
	if f.timer != nil {
		f.timer.Stop()
	}
	if len(f.held) > 0 {
		f.timer = time.AfterFunc(time.Until(f.held[0].due), f.release)
	}
}

// release hands over what is due.
func (f *feed) release() {
	f.awaitBroker()
	<-f.turn
	defer f.pass()
	now := time.Now()
	var out []brokers.Delivery
	for len(f.held) > 0 && !f.held[0].due.After(now) {
		out = append(out, f.held[0].d)
		f.held = f.held[1:]
	}
	for key, until := range f.due {
		if !until.After(now) {
			delete(f.due, key)
		}
	}
	f.setTimer()
	f.hand(out)
}

func (f *feed) hand(out []brokers.Delivery) {
	if len(out) > 0 {
		f.sink.Deliver(out)
	}
}

// end gives back what is held, and holds nothing from then on.
func (f *feed) end() {
	<-f.turn
	defer f.pass()
	f.ended = true
	for _, h := range f.held {
		f.giveBack(h.d)
	}
	f.held = nil
	f.setTimer()
}
