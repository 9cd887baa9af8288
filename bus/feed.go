package bus

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/eventbus-go/eventbus/brokers"
)

// A feed is what a subscription reads from one broker. It is the brokers.Sink of that: the driver calls it from one goroutine
// at a time, and feeds of one subscription are called at the same time.
type feed struct {
	c        *consumer
	link     *link
	channels []string // patterns

	// settling is the feed's own, so that a broker which takes no settlements holds up no others'.
	settling  *settleQueue
	ready     chan struct{}
	readyOnce sync.Once

	contexts feedContexts
}

// Ready implements brokers.Sink.
func (f *feed) Ready() {
	f.readyOnce.Do(func() { close(f.ready) })
	f.link.warn()
}

// isReady reports whether the broker has confirmed the subscription.
func (f *feed) isReady() bool { return isClosed(f.ready) }

// unconfirmed is the error of a feed that is not ready, or nil.
func (f *feed) unconfirmed() error {
	switch {
	case f.isReady():
		return nil
	case f.link.tag == "":
		return &SubscriptionError{Name: f.c.name, Err: errors.New("the broker has not confirmed it yet")}
	default:
		return &SubscriptionError{Name: f.c.name, Err: fmt.Errorf("broker %s has not confirmed it yet", f.link.tag)}
	}
}

// Gap implements brokers.Sink.
func (f *feed) Gap(g brokers.Gap) {
	c := f.c
	c.sched.mu.Lock()
	c.counts.Gaps++
	c.counts.Missed += max(g.Missed, 0)
	c.sched.mu.Unlock()
	f.note("gap", slog.LevelWarn, "messages may have been missed",
		"reason", g.Reason, "since", g.Since, "until", g.Until, "missed", g.Missed, "err", g.Err)
	if hook := c.bus.hooks.Gap; hook != nil {
		_ = c.bus.contain("Gap hook", func() {
			hook(Gap{
				Subscription: c.name, Broker: f.link.tag,
				Since: g.Since, Until: g.Until, Reason: g.Reason, Missed: g.Missed, Err: g.Err,
			})
		})
	}
}

// Deliver implements brokers.Sink. It blocks while the subscription holds as much as it may.
func (f *feed) Deliver(batch []brokers.Delivery) { f.c.deliver(f, batch) }

// settle tells the broker what became of a delivery, where it wants to know.
func (f *feed) settle(s brokers.Settler, what brokers.Settlement) {
	if s != nil {
		f.settling.add(s, what)
	}
}

func (f *feed) note(kind string, level slog.Level, message string, attrs ...any) {
	if f.link.tag != "" {
		kind, attrs = f.link.tag+":"+kind, append(attrs, "broker", f.link.tag)
	}
	f.c.note(kind, level, message, attrs...)
}
