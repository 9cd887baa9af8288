package memory

import (
	"context"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
)

var (
	_ brokers.Lagger      = (*conn)(nil)
	_ brokers.Provisioner = (*conn)(nil)
)

// Lag counts the messages of the group's queue. A group that does not exist has none. What is to be delivered again counts
// as waiting until it is.
func (c *conn) Lag(_ context.Context, group string, channels []string) ([]brokers.Lag, error) {
	c.b.mu.Lock()
	defer c.b.mu.Unlock()
	if c.closed {
		return nil, brokers.ErrClosed
	}
	q := c.b.groups[group]
	if q == nil {
		return nil, nil
	}
	byChannel := make(map[string]*brokers.Lag, len(channels))
	for _, ch := range channels {
		if q.wants(ch) {
			byChannel[ch] = &brokers.Lag{Channel: ch}
		}
	}
	q.tally(byChannel)
	var lags []brokers.Lag
	for _, ch := range channels {
		if l := byChannel[ch]; l != nil {
			lags = append(lags, *l)
			delete(byChannel, ch) // a channel that is asked for twice is answered once
		}
	}
	return lags, nil
}

// tally counts what the queue holds, by channel. b.mu is held.
func (q *queue) tally(byChannel map[string]*brokers.Lag) {
	waiting := func(e *entry) {
		if l := byChannel[e.msg.channel]; l != nil {
			l.Waiting++
			older(&l.Oldest, e.msg.when)
		}
	}
	q.ready.each(waiting)
	for _, k := range q.keys {
		k.held.each(waiting)
	}
	for _, e := range q.delayed {
		waiting(e.entry)
	}
	for _, m := range q.members {
		m.open.each(func(e *entry) {
			if l := byChannel[e.msg.channel]; l != nil {
				l.Pending++
				older(&l.Oldest, e.msg.when)
			}
		})
	}
}

func older(oldest *time.Time, t time.Time) {
	if !t.IsZero() && (oldest.IsZero() || t.Before(*oldest)) {
		*oldest = t
	}
}

func (l *list) each(f func(*entry)) {
	for place := l.head; place != 0; place = l.q.at(place).next {
		f(l.q.at(place))
	}
}

// Provision creates the groups that do not exist: they keep messages from now on, as they do without members. Channels
// need not be created here.
func (c *conn) Provision(_ context.Context, p brokers.Provision) error {
	c.b.mu.Lock()
	defer c.b.mu.Unlock()
	if c.closed {
		return brokers.ErrClosed
	}
	for _, g := range p.Groups {
		if c.b.groups[g.Group] != nil {
			continue
		}
		s := brokers.Subscription{Name: g.Group, Group: g.Group, Channels: g.Channels}
		if _, err := c.b.join(s, c.bound); err != nil {
			return err
		}
	}
	return nil
}
