package rabbitmq

import (
	"context"
	"fmt"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/internal/relink"
)

const (
	// lookEvery is how often a feed looks whether the exchange and its bindings are there: nobody says that they are not.
	lookEvery = 2 * time.Second
	// tryAgain is how long a feed waits after the server has refused it.
	tryAgain = 500 * time.Millisecond
	// takeAtOnce is how many deliveries a feed puts into the queue at once, at most.
	takeAtOnce = 256
)

// A feed is the queue that a subscription reads, or one of them, over one line after the other. Its goroutine does everything
// but calling the sink and settling.
type feed struct {
	m        *member
	place    place // of the present session; read and written by the feed's goroutine alone
	prefetch int

	everReady bool
	since     time.Time     // when the queue was last known to be there, with its bindings
	trouble   string        // what was reported last
	wake      chan struct{} // has an element when later has changed

	// Guarded by m.mu:
	later   []*held // wait in this process
	waiting []*held // came too early, and are to be put into a queue in which they wait
	parking bool    // a goroutine does that
}

// run holds the feed until ctx ends and everything is settled, then returns nil, or an error where it cannot be had.
func (f *feed) run(ctx context.Context) error {
	for ctx.Err() == nil {
		s, err := f.m.conn.sub.Next(ctx, f.failed)
		if err == nil {
			err = f.serve(ctx, s)
		}
		if err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}

// failed judges an error that keeps the feed from being served: before the subscription was ever ready, one that will not pass
// is its end.
func (f *feed) failed(err error) error {
	if retryable(err) {
		return nil
	}
	if !f.everReady {
		return err
	}
	if f.trouble != err.Error() {
		f.trouble = err.Error()
		f.gap(err)
	}
	return nil
}

func (f *feed) gap(err error) {
	now := time.Now()
	f.m.queue.Gap(brokers.Gap{Since: f.since, Until: now, Reason: brokers.GapReconnect, Missed: -1, Err: err})
	f.since = now
}

// serve reads over a session until ctx or the session ends, or the queue has to be made again. It returns an error where the
// feed cannot be had.
func (f *feed) serve(ctx context.Context, s *session) error {
	if f.place.group == "" {
		f.place = f.m.conn.set.ownPlace(f.m.name, f.place.patterns) // the last one may still be held by a dead connection
	}
	l, err := f.attach(ctx, s)
	if err != nil {
		if err := f.failed(err); err != nil {
			return err
		}
		select {
		case <-s.over:
		default:
			relink.Sleep(ctx, tryAgain)
		}
		return nil
	}
	if f.everReady && (l.made || f.place.group == "") {
		f.gap(errorOf(l.made))
	}
	f.since, f.trouble = time.Now(), ""
	if !f.everReady {
		if l.made && f.m.conn.set.kind(f.place) == quorum {
			relink.Sleep(ctx, f.m.conn.set.settle)
		}
		f.everReady = true
		f.m.attached()
	}
	return f.consume(ctx, l)
}

func errorOf(made bool) error {
	if made {
		return errQueueGone
	}
	return errSessionOver
}

// attach opens a line, on a goroutine of its own: nothing interrupts the client.
func (f *feed) attach(ctx context.Context, s *session) (*line, error) {
	c := f.m.conn
	if !c.execs.Enter() {
		return nil, brokers.ErrClosed
	}
	type result struct {
		l   *line
		err error
	}
	got := make(chan result)
	place := f.place
	go func() {
		defer c.execs.Leave()
		var l *line
		err := brokers.Contain(func() (err error) {
			l, err = openLine(s, c.set, place, f.m.name, f.prefetch)
			return err
		})
		select {
		case got <- result{l, err}:
		case <-ctx.Done():
			if l != nil {
				_ = l.ch.Close()
			}
		}
	}()
	select {
	case r := <-got:
		return r.l, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// consume moves deliveries to the subscription's queue. Before all feeds are attached, none is.
func (f *feed) consume(ctx context.Context, l *line) error {
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	deliveries, ready := (<-chan amqp.Delivery)(nil), f.m.ready
	for {
		select {
		case <-ready:
			deliveries, ready = l.deliveries, nil
		case d, ok := <-deliveries:
			if !ok {
				deliveries = nil // why is said elsewhere
				continue
			}
			f.receive(l, d)
		case <-f.wake:
		case <-timer.C:
		case <-look.C:
			f.look(ctx, l)
		case _, ok := <-l.cancels:
			if !ok {
				l.cancels = nil
				continue
			}
			f.m.lost(l)
			f.close(l)
			return nil
		case <-l.closed:
			f.m.lost(l)
			f.lostSince(l)
			return nil
		case <-ctx.Done():
			f.leave(l)
			return nil
		}
		f.returnDue(l, timer)
	}
}

// lostSince notes since when a queue that ended with its connection has missed something.
func (f *feed) lostSince(l *line) {
	if heard := l.session.wire.lastHeard(); f.place.group == "" && heard.After(f.since) {
		f.since = heard
	}
}

// receive takes one delivery and those that have come behind it.
func (f *feed) receive(l *line, d amqp.Delivery) {
	var batch []brokers.Delivery
	for {
		if one, ok := f.m.take(f, l, &d); ok {
			batch = append(batch, one)
		}
		if len(batch) == takeAtOnce {
			break
		}
		select {
		case next, ok := <-l.deliveries:
			if ok {
				d = next
				continue
			}
		default:
		}
		break
	}
	f.m.queue.Put(batch)
}

// look makes the exchange and the bindings again where they are gone, and says so.
func (f *feed) look(ctx context.Context, l *line) {
	set := f.m.conn.set
	if !set.create {
		return
	}
	gone := false
	place := f.place
	err := f.m.conn.exec(ctx, func() error {
		err := l.session.do(func(ch *amqp.Channel) error {
			return ch.ExchangeDeclarePassive(set.exchange, amqp.ExchangeTopic, true, false, false, false, nil)
		})
		if gone = notFound(err); err != nil && !gone {
			return err
		}
		return l.session.do(func(ch *amqp.Channel) error {
			if err := set.declareExchange(ch); err != nil {
				return err
			}
			return set.bind(ch, place)
		})
	})
	switch {
	case err != nil: // the line will hear of it, or the next look will find out
	case gone:
		f.gap(fmt.Errorf("the exchange %q was deleted", set.exchange))
	default:
		f.since = time.Now()
	}
}
