package rabbitmq

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/eventbus-go/eventbus/brokers"
)

// parkTimeout is how long is tried to put a message into a queue in which it waits. After that it waits in this process: a server
// that takes no messages must not keep acks from it.
const parkTimeout = 2 * time.Second

// parkAgain is how long after that it is tried again.
const parkAgain = 2 * time.Second

// A parking is a delivery that has to wait.
type parking struct {
	h        *held
	tried    int // attempts that were made
	from, by int64
}

// redelivery is the parking of a delivery that failed.
func redelivery(h *held, wait time.Duration) parking {
	now := time.Now()
	p := parking{h: h, tried: max(h.attempt, 1)}
	p.from, p.by = waiting(now, now.Add(wait))
	return p
}

// early notes that a delivery has come before its time. It is called with the lock held.
func (f *feed) early(h *held) {
	h.busy = true
	if !f.m.conn.set.create {
		f.later = append(f.later, h)
		f.signal()
		return
	}
	h.tried = int(number(h.msg.Headers, headerTried))
	f.waiting = append(f.waiting, h)
	f.parkWaiting()
}

// parkWaiting starts the goroutine that parks where there is something to park. It is called with the lock held.
func (f *feed) parkWaiting() {
	if len(f.waiting) > 0 && !f.parking && f.m.conn.execs.Enter() {
		f.parking = true
		go func() {
			defer f.m.conn.execs.Leave()
			if err := brokers.Contain(func() error { f.parkEarly(); return nil }); err != nil {
				f.m.fail(err)
			}
		}()
	}
}

func (f *feed) signal() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// parkEarly parks what has come too early until nothing has.
func (f *feed) parkEarly() {
	for {
		f.m.mu.Lock()
		list := f.waiting
		f.waiting = nil
		if len(list) == 0 {
			f.parking = false
			f.m.mu.Unlock()
			return
		}
		f.m.mu.Unlock()
		var parkings []parking
		now := time.Now()
		for _, h := range list {
			parkings = append(parkings, parking{h, h.tried, brokers.UnixNano(now.Add(h.due.Sub(now))), h.by})
		}
		ctx, cancel := f.m.conn.untilLate(parkTimeout)
		parked, kept := f.m.park(ctx, parkings)
		f.m.keep(kept)
		_ = f.m.ack(ctx, parked) // else they come again
		cancel()
	}
}

// park publishes copies of deliveries to the queues in which they wait, and returns the ones that the server has taken, and
// those that it has not. Without leave to make such queues it takes none.
func (m *member) park(ctx context.Context, list []parking) (parked []*held, kept []parking) {
	if !m.conn.set.create {
		return nil, list
	}
	ctx, cancel := context.WithTimeout(ctx, parkTimeout)
	defer cancel()
	var going []parking
	var parcels []parcel
	now := time.Now().UnixNano()
	for _, p := range list {
		wait := level(time.Duration(p.from-now), time.Duration(p.by-now))
		if err := m.delayed(ctx, p.h, wait); err != nil {
			kept = append(kept, p)
			continue
		}
		going = append(going, p)
		msg := p.copy(time.Duration(p.from-now) - wait)
		parcels = append(parcels, parcel{key: delayQueue(p.h.place.name, wait), must: true, msg: msg})
	}
	if len(going) == 0 {
		return nil, kept
	}
	err := m.conn.publish(ctx, &publication{set: m.conn.set, parcels: parcels, fill: func(int) error { return nil }})
	lost := make(map[int]bool)
	var batch *brokers.BatchError
	if errors.As(err, &batch) {
		for _, f := range batch.Failed {
			lost[f.Index] = true
			m.conn.forgetDelay(going[f.Index].h, parcels[f.Index].key)
		}
	}
	for i, p := range going {
		if lost[i] {
			kept = append(kept, p)
		} else {
			parked = append(parked, p.h)
		}
	}
	return parked, kept
}

// errSettling is why a queue that was just made is not used yet.
var errSettling = errors.New("the queue was just made")

// delayed makes the queue in which a delivery waits, once in each session.
func (m *member) delayed(ctx context.Context, h *held, wait time.Duration) error {
	l, name := m.lineOf(h), delayQueue(h.place.name, wait)
	if l == nil {
		return errLost
	}
	s := l.session
	s.mu.Lock()
	from, known := s.waits[name]
	s.mu.Unlock()
	if !known {
		var err error
		if from, err = m.makeDelay(ctx, s, h.place, wait); err != nil {
			return err
		}
	}
	if time.Now().Before(from) {
		return errSettling
	}
	return nil
}

// makeDelay makes the queue of a level, and returns from when on it can be relied upon.
func (m *member) makeDelay(ctx context.Context, s *session, p place, wait time.Duration) (from time.Time, err error) {
	name, set := delayQueue(p.name, wait), m.conn.set
	err = m.conn.exec(ctx, func() error {
		missing, err := isMissing(s, name)
		if err == nil && missing {
			err = s.do(func(ch *amqp.Channel) error { return set.declareDelay(ch, p, wait) })
		}
		if err != nil {
			return err
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		from := time.Now()
		if missing && set.kind(p) == quorum {
			from = from.Add(set.settle)
		}
		s.waits[name] = from
		return nil
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.waits[name], err
}

// forgetDelay makes that a queue that may be gone is made again.
func (c *conn) forgetDelay(h *held, name string) {
	if l := h.feed.m.lineOf(h); l != nil {
		l.session.mu.Lock()
		defer l.session.mu.Unlock()
		delete(l.session.waits, name)
	}
}

// copy returns the message that waits in place of the delivery: the same, with what has to be known when it comes back, and
// without what the server has added or would act on. left is how much longer it has to wait then.
func (p *parking) copy(left time.Duration) amqp.Publishing {
	m := p.h.msg
	headers := maps.Clone(m.Headers)
	if headers == nil {
		headers = make(amqp.Table)
	}
	maps.DeleteFunc(headers, func(name string, _ any) bool { return ofServer(name) })
	headers[headerChannel] = p.h.channel
	headers[headerTried] = int64(p.tried)
	headers[headerFrom], headers[headerBy], headers[headerLeft] = p.from, p.by, int64(max(0, left))
	return amqp.Publishing{
		Headers: headers, ContentType: m.ContentType, ContentEncoding: m.ContentEncoding, DeliveryMode: amqp.Persistent,
		Priority: m.Priority, CorrelationId: m.CorrelationId, ReplyTo: m.ReplyTo, MessageId: m.MessageId,
		Timestamp: m.Timestamp, Type: m.Type, AppId: m.AppId, Body: m.Body,
	}
}

// ofServer reports whether a header is one that the server writes, or sends copies by.
func ofServer(name string) bool {
	switch name {
	case "CC", "BCC", "x-delivery-count", "x-acquired-count", "x-death", "x-stream-offset":
		return true
	}
	return strings.HasPrefix(name, "x-first-death-") || strings.HasPrefix(name, "x-last-death-")
}

// keep lets deliveries wait in this process: they stay unsettled on the server, which delivers them again should we die. What
// waits long is tried to be put into a queue again.
func (m *member) keep(list []parking) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	for _, p := range list {
		due := now.Add(time.Duration(p.from - now.UnixNano()))
		p.h.due, p.h.again, p.h.tried = due, now.Add(parkAgain), p.tried
		p.h.by = p.by
		if m.uncount(p.h); p.h.line != nil {
			p.h.feed.later = append(p.h.feed.later, p.h)
			p.h.feed.signal()
		}
	}
	m.changedLocked()
}

// returnDue gives back what has waited long enough in this process, and sets the timer to when the next one will have.
func (f *feed) returnDue(l *line, timer *time.Timer) {
	f.m.mu.Lock()
	var due, rest []*held
	next, now := time.Hour, time.Now()
	for _, h := range f.later {
		switch {
		case !h.due.After(now):
			due = append(due, h)
		case f.m.conn.set.create && !h.again.After(now):
			f.waiting = append(f.waiting, h)
		default:
			rest = append(rest, h)
			next = min(next, h.due.Sub(now), max(h.again.Sub(now), parkAgain/8))
		}
	}
	f.later = rest
	f.parkWaiting()
	f.m.mu.Unlock()
	timer.Reset(next)
	if len(due) > 0 {
		f.giveBack(l, due)
	}
}

// giveBack lets the server deliver again.
func (f *feed) giveBack(l *line, list []*held) {
	var tags []uint64
	f.m.mu.Lock()
	for _, h := range list {
		delete(f.m.held, h.token)
		if h.line == l {
			tags = append(tags, h.tag)
		}
	}
	f.m.mu.Unlock()
	select {
	case l.turn <- struct{}{}:
		_ = l.write(nil, tags) // else the line is over, and they come again
		<-l.turn
	case <-l.session.over:
	}
}

// dropLater forgets what waits of a line. It is called with the lock held.
func (f *feed) dropLater(l *line) {
	f.later = slices.DeleteFunc(f.later, func(h *held) bool { return h.line == nil || h.line == l })
}
