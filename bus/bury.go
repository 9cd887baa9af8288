package bus

import (
	"errors"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/eventbus-go/eventbus/router/middleware"
	"github.com/eventbus-go/eventbus/store/deadletter"
)

// bury writes the dead letter of an item that is given up for err, before it is settled. Where the letter cannot be written and
// the broker takes events back, the subscription pauses until it can, with a try each second, or gives the event back at the
// shutdown. It is called without the lock.
func (c *consumer) bury(it *item, err error, done outcome) outcome {
	k := c.bus.keeper
	if k == nil {
		return done
	}
	l := c.letter(it, err)
	if it.settler == nil {
		it.buried = k.hold(c.ctx, l)
		return done
	}
	if !c.insist(func() error { return k.write(c.ctx, l) }) {
		return outcomeInterrupted
	}
	it.buried = true
	k.wrote(1)
	return done
}

// letter makes the dead letter of an item.
func (c *consumer) letter(it *item, err error) deadletter.Letter {
	e, now := &it.event, time.Now()
	l := deadletter.Letter{
		Rev: strconv.FormatUint(rand.Uint64(), 16), Subscription: c.name, Channel: it.channel, Broker: it.feed.link.scheme, BrokerName: it.feed.link.tag,
		Position: it.position, Body: it.body, Size: it.full, Reason: reasonFor(it, err),
		Attempts: middleware.Attempts(err), First: now.UTC(), Last: now.UTC(),
	}
	if it.bad == "" {
		l.EventID, l.EventType, l.Key, l.Priority, l.Time = e.ID, e.Type, it.eventKey(), int8(e.Priority), e.Time
		l.Trace, l.KeepOrder = e.Metadata.Text("traceparent"), c.sub.KeepOrder
		if was := it.letter(); was != nil {
			l.KeepOrder = was.KeepOrder // it stands in its line, or in none
		}
	}
	text := string(it.bad)
	if err != nil {
		text = err.Error()
	}
	l.Error = deadletter.Clip(text)
	l.Fingerprint = deadletter.Fingerprint(l.EventType, rootText(err, text))
	for _, a := range middleware.JoinHistory(it.history, middleware.History(err)) {
		l.History = append(l.History, deadletter.Attempt{Number: a.Number, At: a.At.UTC(), Error: deadletter.Clip(a.Err.Error())})
	}
	if len(l.History) > 0 {
		l.First, l.Last = l.History[0].At, l.History[len(l.History)-1].At
	}
	l.SetID()
	return l
}

// eventKey is the event's key, also where the item was given another one while it was parked.
func (it *item) eventKey() string {
	if it.parked {
		return it.event.Key()
	}
	return it.key
}

// rootText is the text of the handler's own error, without how often it was tried.
func rootText(err error, otherwise string) string {
	counted := new(middleware.AttemptsError)
	if errors.As(err, &counted) {
		return counted.Err.Error()
	}
	return otherwise
}

func reasonFor(it *item, err error) string {
	switch {
	case it.bad != "":
		return deadletter.ReasonMalformed
	case errors.Is(err, ErrGivenUp):
		return deadletter.ReasonBreaker
	case errors.As(err, new(*middleware.PanicError)), errors.Is(err, errGoexit):
		return deadletter.ReasonPanic
	case errors.Is(err, ErrStuck):
		return deadletter.ReasonStuck
	default:
		return deadletter.ReasonFailed
	}
}

// pause keeps workers from taking items, until as many calls of resume.
func (s *scheduler) pause() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.paused++
}

func (s *scheduler) resume() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.paused--
	s.wakeReady()
}
