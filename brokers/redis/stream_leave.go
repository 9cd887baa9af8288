package redis

import (
	"context"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
)

// leave gives back what the sink has not seen, waits until the rest is settled, or Close's deadline has passed, and
// takes leave of the group. ctx does not end.
func (m *member) leave(ctx context.Context) {
	if !m.everReady {
		return
	}
	within, cancel := m.moment(ctx, m.conn.set.readTimeout)
	m.returnUnseen(within)
	cancel()
	for m.heldCount() > 0 {
		select {
		case <-m.changed:
		case <-m.conn.late:
			within, cancel := context.WithTimeout(ctx, grace)
			m.returnHeld(within)
			cancel()
			return
		}
	}
	within, cancel = m.moment(ctx, m.conn.set.readTimeout)
	defer cancel()
	if m.conn.set.stream.consumer != "" {
		return
	}
	for _, s := range m.all() {
		for _, one := range []*source{s, s.parked} {
			if _, err := eval(within, m.conn.pub, dismissScript, []string{one.key}, m.group, m.consumer); err != nil && !isReply(err) {
				return // others do it later
			}
		}
	}
}

// moment returns a context that ends after d, and when Close's deadline has passed.
func (m *member) moment(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, d)
	go func() {
		select {
		case <-m.conn.late:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// returnUnseen gives back what the sink has not seen: what waits for it, and what was in a reply that the end of the
// subscription cut off. Where the server does not answer, it comes again when its lease has run out.
func (m *member) returnUnseen(ctx context.Context) {
	bySource := make(map[*source][]*lease)
	var all []*lease
	for _, token := range m.queue.TakeBack() {
		l := token.Ref.(*lease)
		bySource[l.source] = append(bySource[l.source], l)
		all = append(all, l)
	}
	for s, leases := range bySource {
		_ = m.giveBack(ctx, m.conn.pub, s, leases, 1)
	}
	m.release(all)
	for _, s := range m.all() {
		if ctx.Err() != nil {
			return
		}
		m.returnCutOff(ctx, s)
	}
}

func (m *member) returnCutOff(ctx context.Context, s *source) {
	m.client = m.conn.pub
	for _, one := range []*source{s, s.parked} {
		list, err := m.pending(ctx, one, 0, entryID{}, m.prefetch+ownPage, m.consumer)
		if err != nil {
			return
		}
		var leases []*lease
		for _, p := range list {
			if id, ok := readID(p.ID); ok && !m.holds(one, id) {
				leases = append(leases, &lease{id: id, attempt: int(p.RetryCount)})
			}
		}
		_ = m.giveBack(ctx, m.conn.pub, one, leases, 1)
	}
}

// returnHeld gives back what the sink has and has not settled.
func (m *member) returnHeld(ctx context.Context) {
	for _, s := range m.all() {
		for _, one := range []*source{s, s.parked} {
			m.mu.Lock()
			leases := make([]*lease, 0, len(one.held))
			for _, l := range one.held {
				if !l.over {
					leases = append(leases, l)
				}
			}
			m.mu.Unlock()
			_ = m.giveBack(ctx, m.conn.pub, one, leases, 0)
		}
	}
}

var _ brokers.Settler = (*member)(nil)
