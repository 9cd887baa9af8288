package watermill

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/router/middleware"
)

// A feed is one subscription. It is the brokers.Sink of its connection: what is delivered waits in a bounded list, from which
// workers hand it out, one message of a key at a time.
//
//	Deliver    decodes, and blocks while as much waits as may
//	workers    hand out, wait for ack or nack, wait before another attempt; what is no message fails
//	settling   tells the broker, many at once
//
// It ends in the same order: no more is handed out and the channel is closed; workers wait for what is out; what is left
// is given back; the driver's Subscribe returns once all of it is settled.
type feed struct {
	sub            *Subscriber
	topic, channel string
	wild           bool // channel is a pattern
	out            chan *message.Message

	fetch  context.Context // ends when no more is to be fetched
	cancel context.CancelFunc
	stop   chan struct{} // closed when no more is to be handed out
	late   chan struct{} // closed when what is handed out has had its time
	done   chan struct{} // closed when everything has ended

	ready  chan struct{} // closed by Ready
	failed chan struct{} // closed when the broker has refused the subscription
	err    error         // before failed

	settling *settleQueue
	workers  sync.WaitGroup
	values   context.Context // of messages
	unlink   func() bool     // from the context of Subscribe

	mu      sync.Mutex
	arrived sync.Cond // for workers: there is something to take
	room    sync.Cond // for Deliver
	pending []item
	busy    map[string]bool // keys that are with a worker
	sending int
	stopped bool
	lost    int64 // messages of a broker that settles nothing, which were not handled
}

// An item is a delivery that waits for a worker or is with one.
type item struct {
	message *message.Message // never handed out itself: copies of it are
	key     string
	bad     error // why it is no message; nil where it is one
	attempt int
	token   brokers.Token
	settler brokers.Settler
}

func newFeed(s *Subscriber, topic, channel string, wild bool) *feed {
	f := &feed{
		sub: s, topic: topic, channel: channel, wild: wild, out: make(chan *message.Message), values: s.life,
		stop: make(chan struct{}), late: make(chan struct{}), done: make(chan struct{}),
		ready: make(chan struct{}), failed: make(chan struct{}), busy: make(map[string]bool),
	}
	f.arrived.L, f.room.L = &f.mu, &f.mu
	f.fetch, f.cancel = context.WithCancel(s.life)
	f.settling = newSettleQueue(s.life, func(err error) {
		s.note.say(slog.LevelWarn, "settling failed: these messages will be delivered again", "topic", topic, "err", err)
	})
	return f
}

// begin starts to hand out, until ctx ends at the latest.
func (f *feed) begin(ctx context.Context) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stopped {
		return
	}
	f.unlink = context.AfterFunc(ctx, f.cancel)
	f.values = context.WithoutCancel(ctx)
	for range f.sub.cfg.InFlight {
		f.workers.Go(f.work)
	}
}

// awaitReady returns nil once the broker has confirmed, and also where it has not within SubscribeTimeout, or ctx has ended.
func (f *feed) awaitReady(ctx context.Context) error {
	t := time.NewTimer(f.sub.cfg.SubscribeTimeout)
	defer t.Stop()
	select {
	case <-f.ready:
	case <-ctx.Done():
	case <-f.failed:
	case <-f.fetch.Done(): // also soon after failed
	case <-t.C:
		f.sub.note.say(slog.LevelWarn, "the broker has not confirmed a subscription yet: it is still tried", "topic", f.topic)
	}
	return f.refusal()
}

// refusal returns why the broker has refused the subscription, or nil.
func (f *feed) refusal() error {
	select {
	case <-f.failed:
		return f.err
	default:
		return nil
	}
}

// run is the life of a feed.
func (f *feed) run() {
	defer close(f.done)
	defer f.sub.gone(f)
	defer f.cancel()
	receiving := make(chan struct{})
	go func() {
		defer close(receiving)
		f.receive()
	}()
	select {
	case <-f.fetch.Done():
	case <-receiving:
	}
	f.stopHanding()
	if f.unlink != nil {
		f.unlink()
	}
	grace := time.AfterFunc(f.sub.cfg.CloseTimeout, func() { close(f.late) })
	f.workers.Wait()
	grace.Stop()
	f.giveBack()
	f.settling.wait()
	<-receiving
	f.settling.wait()
	if f.lost > 0 {
		f.sub.note.say(slog.LevelWarn, "messages that were received and not acked are lost: the broker keeps none",
			"topic", f.topic, "messages", f.lost)
	}
}

// retry is the schedule by which a subscription that ended is tried again.
var retry = middleware.Backoff{Min: 10 * time.Millisecond, Max: time.Second, Factor: 2}

// receive keeps the subscription going until fetch ends or the broker refuses it.
func (f *feed) receive() {
	c := &f.sub.cfg
	want := brokers.Subscription{
		Name: c.Name, Channels: []string{f.channel}, Group: c.groupOf(f.channel), Start: c.Start, Prefetch: c.Prefetch, MaxBytes: c.MaxBytes,
	}
	for attempt := 1; ; attempt++ {
		err := f.sub.conn.Subscribe(f.fetch, want, f)
		switch {
		case f.fetch.Err() != nil:
			return
		case err == nil:
			err = errors.New("the driver ended it without being asked to")
		case !f.sub.conn.Retryable(err):
			f.refused(err)
			return
		}
		f.sub.note.say(slog.LevelError, "subscription interrupted", "topic", f.topic, "err", err)
		if !pause(f.fetch.Done(), retry.Delay(attempt, rand.Float64())) {
			return
		}
	}
}

// refused ends the feed for good.
func (f *feed) refused(err error) {
	f.err = err
	select {
	case <-f.ready:
		f.sub.note.say(slog.LevelError, "the broker has ended a subscription", "topic", f.topic, "err", err)
	default:
	}
	close(f.failed)
}

// pause waits for d and reports whether nothing ended it before.
func pause(end <-chan struct{}, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-end:
		return false
	}
}

// Ready implements brokers.Sink. A subscription that was tried again is ready again.
func (f *feed) Ready() {
	select {
	case <-f.ready:
	default:
		close(f.ready)
	}
}

// Gap implements brokers.Sink.
func (f *feed) Gap(g brokers.Gap) {
	f.sub.note.say(slog.LevelWarn, "messages may have been missed", "topic", f.topic,
		"reason", g.Reason, "since", g.Since, "until", g.Until, "missed", g.Missed, "err", g.Err)
	if hook := f.sub.cfg.Gap; hook != nil {
		f.sub.note.contain("Gap", func() { hook(f.topic, g) })
	}
}

// Deliver implements brokers.Sink. It blocks while as much waits as may.
func (f *feed) Deliver(batch []brokers.Delivery) {
	for i := range batch {
		d := &batch[i]
		it := item{message: read(d), attempt: max(d.Attempt, 1), token: d.Token, settler: d.Settler}
		if d.Malformed != "" {
			it.bad = &MalformedError{Reason: d.Malformed, Size: max(d.Size, len(d.Body))}
		}
		it.key = it.message.Metadata[MetadataKey]
		if f.wild {
			it.message.Metadata[MetadataChannel] = d.Channel
		}
		f.add(it)
	}
}

func (f *feed) add(it item) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(f.pending) >= f.sub.cfg.Prefetch && !f.stopped {
		f.room.Wait()
	}
	f.pending = append(f.pending, it)
	f.arrived.Signal()
	if f.stopped {
		f.giveBackLocked()
	}
}

// giveBack returns what waits to the broker.
func (f *feed) giveBack() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.giveBackLocked()
}

func (f *feed) giveBackLocked() {
	for i := range f.pending {
		f.returnItem(&f.pending[i], 0)
	}
	f.pending = nil
}

// returnItem gives one delivery back; f.mu is held.
func (f *feed) returnItem(it *item, after time.Duration) {
	if it.settler == nil {
		f.lost++
		return
	}
	f.settle(it, brokers.Redeliver, after)
}

func (f *feed) settle(it *item, v brokers.Verdict, after time.Duration) {
	if it.settler != nil {
		f.settling.add(it.settler, brokers.Settlement{Token: it.token, Verdict: v, After: after})
	}
}

// fail gives a message up, and reports whether it is settled: the hook may want it to be kept.
func (f *feed) fail(it *item, err error) bool {
	var kept error
	if hook := f.sub.cfg.Failed; hook != nil {
		kept = errors.New("the hook panicked")
		f.sub.note.contain("Failed", func() {
			kept = hook(Failure{Topic: f.topic, Message: it.copy(), Attempts: it.attempt, Err: err})
		})
	}
	if kept != nil {
		f.sub.note.say(slog.LevelError, "a message that failed cannot be given up", "topic", f.topic,
			"uuid", it.message.UUID, "err", err, "hook", kept)
		return false
	}
	f.sub.note.say(slog.LevelError, "a message was given up", "topic", f.topic, "uuid", it.message.UUID, "err", err)
	f.settle(it, brokers.Terminate, 0)
	return true
}

// stopHanding closes the channel once nobody sends on it.
func (f *feed) stopHanding() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stopped = true
	close(f.stop)
	if f.sending == 0 {
		close(f.out)
	}
	f.arrived.Broadcast()
	f.room.Broadcast()
	f.giveBackLocked()
}
