package rabbitmq

import (
	"context"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
)

// leaving is how long a feed waits for the server's replies when it ends.
const leaving = 2 * time.Second

// leave ends a line in good order: nothing more is fetched, what the sink has not seen is given back, and what it has is
// waited for until it is settled or Close's deadline has passed.
//
// Where one consumer alone is active, it stays that until the sink has settled everything: suppose it made way at once, then the
// next one would get the second message of a key while the first one is being handled here. What it has not handed over the
// server gives to the next one when the channel is closed, in order. The queue of a subscription without a group ends
// with its consumer, and what is not settled with the queue.
func (f *feed) leave(l *line) {
	c := f.m.conn
	defer f.m.lost(l)
	if f.place.group != "" && !c.set.single {
		f.stop(l)
	} else {
		f.m.queue.TakeBackThose(func(t brokers.Token) bool { return f.m.forget(t.Seq, l) })
	}
	for {
		n, changed := f.m.open(l)
		if n == 0 {
			break
		}
		select {
		case <-changed:
		case <-l.closed:
			return
		case <-c.late:
			return
		}
	}
	f.close(l)
}

// stop ends the consumer and gives back what the sink has not seen.
func (f *feed) stop(l *line) {
	within, cancel := f.m.conn.untilLate(leaving)
	defer cancel()
	_ = f.m.conn.exec(within, func() error { // where it fails, the line ends and everything comes back
		if err := l.take(within); err != nil {
			return err
		}
		defer func() { <-l.turn }()
		if err := l.ch.Cancel(l.tag, false); err != nil {
			return err
		}
		var back []uint64
		for d := range l.deliveries {
			back = append(back, d.DeliveryTag)
		}
		f.m.queue.TakeBackThose(func(t brokers.Token) bool {
			tag, ok := f.m.tagOf(t.Seq, l)
			if ok && f.m.forget(t.Seq, l) {
				back = append(back, tag)
			}
			return ok
		})
		return l.settle(nil, back)
	})
}

func (m *member) tagOf(token uint64, l *line) (uint64, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	h := m.held[token]
	if h == nil || h.line != l {
		return 0, false
	}
	return h.tag, true
}

// close closes a line's channel.
func (f *feed) close(l *line) {
	within, cancel := f.m.conn.untilLate(leaving)
	defer cancel()
	kind := f.m.conn.set.kind(f.place)
	_ = f.m.conn.exec(within, func() error { // where it fails, the session is over
		if err := l.take(within); err != nil {
			return err
		}
		defer func() { <-l.turn }()
		return l.close(within, kind)
	})
}

// untilLate returns a context that ends after d, or once Close's deadline has passed.
func (c *conn) untilLate(d time.Duration) (context.Context, func()) {
	ctx, cancel := context.WithTimeout(c.life, d)
	go func() {
		select {
		case <-c.late:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}
