package redis

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/internal/lifetime"
)

// errToken says that a token is none of the subscription's that wait to be settled.
var errToken = errors.New("a token is settled already, or of another subscription")

// A bill is what is to be settled of one source.
type bill struct {
	source *source
	acks   []*lease
	parks  []*lease
	after  []time.Duration
	back   []*lease
}

// Settle is the Settler's. Where the connection is lost, it tries again until ctx ends: a settlement that is read
// twice changes nothing the second time.
func (m *member) Settle(ctx context.Context, list []brokers.Settlement) error {
	bills, all, wrong := m.bills(list)
	if len(all) == 0 {
		return wrong
	}
	if !m.conn.execs.Enter() {
		m.release(all)
		return brokers.ErrClosed
	}
	done := make(chan error, 1)
	go func() {
		defer m.conn.execs.Leave()
		err := brokers.Contain(func() error { return m.settleUntilTaken(ctx, bills) })
		m.release(all) // what could not be settled comes again when its lease has run out
		done <- err
	}()
	if err := lifetime.Outcome(ctx, done); err != nil {
		return err
	}
	return wrong
}

// bills sorts settlements by source, and takes their leases for over.
func (m *member) bills(list []brokers.Settlement) (bills []*bill, all []*lease, wrong error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var b *bill
	bySource := make(map[*source]*bill, 1)
	all = make([]*lease, 0, len(list))
	for i := range list {
		l, ok := list[i].Token.Ref.(*lease)
		if !ok || l.member != m || l.over {
			wrong = errToken
			continue
		}
		l.over = true
		all = append(all, l)
		if b == nil || b.source != l.source {
			if b = bySource[l.source]; b == nil {
				b = &bill{source: l.source}
				bySource[l.source] = b
				bills = append(bills, b)
			}
		}
		switch {
		case list[i].Verdict != brokers.Redeliver:
			b.acks = append(b.acks, l)
		case list[i].After <= 0:
			b.back = append(b.back, l)
		default:
			b.parks, b.after = append(b.parks, l), append(b.after, list[i].After)
		}
	}
	return bills, all, wrong
}

// settleUntilTaken settles, over one connection after the other, until the server has taken everything.
func (m *member) settleUntilTaken(ctx context.Context, bills []*bill) error {
	for attempt := 0; ; attempt++ {
		if !sleep(ctx, backoff(attempt, rand.Float64())) {
			return ctx.Err()
		}
		err := m.settle(ctx, bills)
		if err == nil || !streamRetryable(err) {
			return err
		}
		select {
		case <-m.conn.late:
			return err
		default:
		}
	}
}

func (m *member) settle(ctx context.Context, bills []*bill) error {
	for _, b := range bills {
		if err := m.settleBill(ctx, b); err != nil {
			return err
		}
	}
	return nil
}

func (m *member) settleBill(ctx context.Context, b *bill) error {
	client, s := m.conn.pub, b.source
	if len(b.acks) > 0 {
		var err error
		if s.parked != nil {
			_, err = rawDo(ctx, client, withIDs(b.acks, "xack", s.key, m.group)...)
		} else {
			_, err = eval(ctx, client, finishScript, []string{s.key}, withIDs(b.acks, m.group)...)
		}
		if err != nil {
			return ignoreNoGroup(err)
		}
	}
	parks := make([]parking, len(b.parks))
	for i, l := range b.parks {
		parks[i] = parking{l.id, b.after[i], max(l.attempt, 1)}
	}
	if err := m.park(ctx, client, s, parks); err != nil {
		return ignoreNoGroup(err)
	}
	return ignoreNoGroup(m.giveBack(ctx, client, s, b.back, 0))
}

// ignoreNoGroup returns err unless the group is gone: nothing is left to be settled then.
func ignoreNoGroup(err error) error {
	if isNoGroup(err) {
		return nil
	}
	return err
}

// withIDs appends the ids of leases to the arguments of a command.
func withIDs(leases []*lease, args ...any) []any {
	out := make([]any, 0, len(args)+len(leases)+4)
	out = append(out, args...)
	for _, l := range leases {
		out = append(out, l.id.String())
	}
	return out
}

// longAgo is the idle time of what was given back: longer than any lease, so that the next poll of any member takes it.
const longAgo = 365 * 24 * time.Hour

// giveBack lets other members have what is not settled, at once. undone is 1 where the sink has not even seen it: the
// attempt does not count then.
func (m *member) giveBack(ctx context.Context, client *goredis.Client, s *source, leases []*lease, undone int) error {
	if len(leases) == 0 {
		return nil
	}
	end, err := m.claiming(ctx)
	if err != nil {
		return err
	}
	defer end()
	byAttempt := m.endLeases(leases)
	for attempt, same := range byAttempt {
		args := withIDs(same, "xclaim", s.key, m.group, m.consumer, 0)
		args = append(args, "idle", longAgo.Milliseconds(), "retrycount", max(0, attempt-undone), "justid")
		if _, err := rawDo(ctx, client, args...); err != nil {
			return err
		}
	}
	return nil
}

// endLeases ends the prolonging of leases, and returns them by their attempt.
func (m *member) endLeases(leases []*lease) map[int][]*lease {
	m.mu.Lock()
	defer m.mu.Unlock()
	byAttempt := make(map[int][]*lease)
	for _, l := range leases {
		l.back = true
		byAttempt[l.attempt] = append(byAttempt[l.attempt], l)
	}
	return byAttempt
}
