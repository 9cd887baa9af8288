package redis

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/internal/handover"
)

// pollEvery is how often a member looks for what others left behind, for parked entries that others parked, and for
// new channels.
const pollEvery = time.Second

// Subscribe feeds sink: as a member of the group, or, without one, with everything that is published from now on. See
// brokers.Conn. It returns an error where the server refuses the user or the password, or where a group is not there
// and may not be made, before the subscription was ready for the first time; later that is reported as a Gap, and
// tried again.
func (c *stream) Subscribe(ctx context.Context, s brokers.Subscription, sink brokers.Sink) error {
	patterns, err := readChannels(s.Name, s.Channels)
	if err != nil {
		return err
	}
	if !c.calls.Enter() {
		return brokers.ErrClosed
	}
	defer c.calls.Leave()
	ctx, release := c.subs.Bind(ctx)
	defer release()
	if s.Group == "" {
		return c.newTail(s, patterns, sink).run(ctx)
	}
	q := handover.New()
	done := make(chan error, 1)
	go func() {
		defer q.Close()
		done <- brokers.Contain(func() error { return c.newMember(s, patterns, q).run(ctx) })
	}()
	q.Feed(sink, c.late)
	return <-done
}

// A member is one subscription that belongs to a group. The goroutine of run, the reader, fetches whatever the sink
// gets, over a connection of its own; another one, the steward, prolongs leases. Settlements come on the goroutines
// of the sink's owner.
type member struct {
	conn     *stream
	group    string
	consumer string
	start    brokers.Start
	prefetch int
	read     entryReader
	queue    *handover.Queue
	names    *names

	client *goredis.Client // the reader's connection
	buffer replyBuffer     // of the reader
	turn   int             // of the sources, where there are more than fit into one read
	size   int             // of an entry, in bytes, on average
	polled time.Time

	clock      clock
	spareUntil time.Time // nothing is taken over before

	everReady bool
	served    bool // what was pending with this consumer when the process began was delivered
	trouble   trouble
	denied    string // what the operator was warned of

	mu      sync.Mutex
	sources []*source
	byKey   map[string]*source
	count   int // of leases
	changed chan struct{}

	// claims has an element while leases are prolonged or given back: the one sent before the other and executed after it would
	// undo it, and take back what another member may have by then.
	claims chan struct{}
}

func (c *stream) newMember(s brokers.Subscription, patterns []brokers.Pattern, q *handover.Queue) *member {
	m := &member{
		conn: c, group: s.Group, consumer: c.consumerName(s.Name), start: s.Start, prefetch: s.Prefetch, queue: q,
		read:  entryReader{format: c.set.stream.format, maxBytes: s.MaxBytes},
		names: newNames(c, patterns), byKey: make(map[string]*source), changed: make(chan struct{}, 1),
		claims: make(chan struct{}, 1),
		size:   1 << 10,
	}
	if m.prefetch <= 0 {
		m.prefetch = c.set.stream.prefetch
	}
	m.trouble.gap = q.Gap
	return m
}

// consumerName tells this member from all others, unless the URL names it.
func (c *stream) consumerName(subscription string) string {
	if c.set.stream.consumer != "" {
		return c.set.stream.consumer + "-" + subscription
	}
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return fmt.Sprintf("%s-%s-%d-%s", subscription, host, os.Getpid(), strconv.FormatUint(rand.Uint64(), 36))
}

// run holds the subscription until ctx ends and everything is settled, then returns nil, or an error where it cannot
// be had.
func (m *member) run(ctx context.Context) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	line, client := m.conn.ownLine(pollEvery)
	m.client = client
	defer m.conn.disown(client)
	line.watch(ctx)
	defer line.unwatch()
	steward := newSteward(context.WithoutCancel(ctx), m, fail)
	defer steward.stop()
	defer m.noteDenied(nil)
	err := m.conn.retry(ctx, &m.trouble, func() error {
		err := m.serve(ctx)
		m.noteDenied(err)
		return err
	})
	line.unwatch()
	if broken := context.Cause(ctx); errors.As(broken, new(*brokers.PanicError)) {
		err = broken
	}
	if err == nil {
		m.leave(context.WithoutCancel(ctx))
	}
	return err
}

// serve fetches until ctx ends or the connection does.
func (m *member) serve(ctx context.Context) error {
	if err := m.attach(ctx); err != nil {
		return err
	}
	for _, s := range m.all() {
		s.ownDone, s.ownPage = false, entryID{}
	}
	m.polled = time.Time{}
	if !m.everReady {
		m.everReady = true
		m.queue.Ready()
	}
	m.trouble.over()
	for {
		err := m.step(ctx)
		if isNoGroup(err) {
			err = m.heal(ctx, err)
		}
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		m.trouble.well(time.Now())
	}
}

// noteDenied warns of a server that hands out nothing because it does not write just now, until it does again. What comes with a
// connection that is lost says nothing of that.
func (m *member) noteDenied(err error) {
	if err != nil && !isReply(err) {
		return
	}
	text := ""
	if hasPrefix(err, unwritten) {
		text = "the server hands out nothing to the group " + m.group + ": " + err.Error()
	}
	if text != m.denied {
		m.denied = text
		m.conn.warnings.set("denied:"+m.consumer, text)
	}
}

// step fetches once: what this consumer was given and has not seen, what others left behind, what is due, and what is
// new.
func (m *member) step(ctx context.Context) error {
	room := m.awaitRoom(ctx)
	if time.Since(m.polled) >= pollEvery || m.anyDue() {
		if err := m.poll(ctx, room); err != nil {
			return err
		}
		room = m.room()
	}
	if room <= 0 || ctx.Err() != nil {
		return nil
	}
	if own, err := m.readOwn(ctx, room); own || err != nil {
		return err
	}
	return m.readNew(ctx, room)
}

// awaitRoom waits until there is room worth a read, or it is time to look around.
func (m *member) awaitRoom(ctx context.Context) int {
	for patient := true; ; {
		room := m.room()
		if room >= max(1, m.prefetch/4) || room > 0 && !patient {
			return room
		}
		wait := time.Until(m.polled.Add(pollEvery))
		if room > 0 {
			wait = fewMore
		}
		if wait <= 0 {
			return 0
		}
		t := time.NewTimer(wait)
		select {
		case <-m.changed:
		case <-t.C:
			patient = false
		case <-ctx.Done():
		}
		t.Stop()
		if ctx.Err() != nil {
			return 0
		}
	}
}

// fewMore is how long the reader waits for more room where there is a little: a read for each settlement would cost
// more.
const fewMore = 2 * time.Millisecond

// deliver hands a batch to the sink, but for what must wait for its NotBefore: that is parked. The attempt that this
// took does not count.
func (m *member) deliver(ctx context.Context, s *source, b *batch) error {
	var late []parking
	if s.parked != nil {
		now, n := time.Now(), 0
		for i, id := range b.ids {
			if wait := early(&b.deliveries[i].Message, now); wait > 0 && !m.holds(s, id) {
				late = append(late, parking{id, wait, max(0, b.deliveries[i].Attempt-1)})
				continue
			}
			b.ids[n], b.deliveries[n] = id, b.deliveries[i]
			n++
		}
		b.ids, b.deliveries = b.ids[:n], b.deliveries[:n]
	}
	if len(b.ids) > 0 {
		m.hold(s, b)
		m.queue.Put(b.deliveries)
	}
	return m.park(ctx, m.client, s, late)
}
