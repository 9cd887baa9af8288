package bustest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/brokers/memory"
)

// ErrAway is why a Broker takes nothing during an [Outage].
var ErrAway = errors.New("bustest: the broker is away")

// A Broker is a broker in memory, with groups, order per key, attempts and delays, that misbehaves by a script. It is the
// connection that bus.New takes; give it to one bus. What it does to a delivery it decides when it hands it over, so that a delivery
// to two subscriptions is decided about twice.
type Broker struct {
	brokers.Conn
	began time.Time

	mu       sync.Mutex
	rules    []*rule
	dice     *dice
	injected map[Kind]int
}

// NewBroker returns a broker that misbehaves by faults; those that depend on chance are decided by seed. The first fault that
// hits a delivery is the only one, except that a crash before the acknowledgement may follow any other.
// A fault that cannot be fails the test.
func NewBroker(tb TB, seed uint64, faults ...Fault) *Broker {
	tb.Helper()
	b := &Broker{Conn: memory.New(), began: time.Now(), dice: newDice(seed), injected: make(map[Kind]int)}
	for i, f := range faults {
		r, err := compile(i+1, f)
		if err != nil {
			tb.Errorf("bustest: %v", err)
			continue
		}
		b.rules = append(b.rules, r)
	}
	return b
}

// Injected counts what has gone wrong, by kind.
func (b *Broker) Injected() map[Kind]int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return maps.Clone(b.injected)
}

// Publish takes msgs, unless the broker is away.
func (b *Broker) Publish(ctx context.Context, msgs []brokers.Message) error {
	if b.awayFor() > 0 {
		b.count(Away)
		return brokers.FailAll(len(msgs), brokers.NotSent, ErrAway)
	}
	return b.Conn.Publish(ctx, msgs)
}

// Retryable reports whether err may go away by itself: that of an outage does.
func (b *Broker) Retryable(err error) bool { return errors.Is(err, ErrAway) || b.Conn.Retryable(err) }

// Subscribe feeds sink with what the script leaves of the deliveries.
func (b *Broker) Subscribe(ctx context.Context, s brokers.Subscription, sink brokers.Sink) error {
	f := newFeed(ctx, b, sink)
	defer context.AfterFunc(ctx, f.end)()
	return b.Conn.Subscribe(ctx, s, f)
}

// awayFor returns how long the broker will be away; 0 where it is there.
func (b *Broker) awayFor() time.Duration {
	since := time.Since(b.began)
	for _, r := range b.rules {
		if r.kind == Away && since >= r.min && since < r.max {
			return r.max - since
		}
	}
	return 0
}

func (b *Broker) count(k Kind) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.injected[k]++
}

// decide returns the fault that hits a delivery, and how long it delays it; nil where none does.
func (b *Broker) decide(m *brokers.Message) (r *rule, delay time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.rules {
		if r.kind == Away || r.kind == Crashed || !r.hits(b.dice, m) {
			continue
		}
		b.injected[r.kind]++
		if r.kind == Delayed {
			delay = r.min + time.Duration(b.dice.roll(-r.number, m)*float64(r.max-r.min))
		}
		return r, delay
	}
	return nil, 0
}

// crashes decides whether the consumer dies before the acknowledgement of m.
func (b *Broker) crashes(m *brokers.Message) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.rules {
		if r.kind == Crashed && r.hits(b.dice, m) {
			b.injected[Crashed]++
			return true
		}
	}
	return false
}

// String shows what has gone wrong so far.
func (b *Broker) String() string { return fmt.Sprint(b.Injected()) }
