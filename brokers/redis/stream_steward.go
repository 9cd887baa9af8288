package redis

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
)

// dismissAfter is how long a consumer of the group without anything pending may be silent before it is taken for gone
// for good.
const dismissAfter = 5 * time.Minute

// A steward prolongs the leases of a member, keeps the floors of its groups, and removes consumers that are gone for
// good. It has a goroutine of its own, so that a lease does not depend on what the reader waits for.
type steward struct {
	m      *member
	cancel context.CancelFunc
	done   sync.WaitGroup
}

// newSteward starts one. It calls failed where it can do its work no more.
func newSteward(ctx context.Context, m *member, failed func(error)) *steward {
	ctx, cancel := context.WithCancel(ctx)
	s := &steward{m: m, cancel: cancel}
	s.done.Go(func() {
		if err := brokers.Contain(func() error { s.run(ctx); return nil }); err != nil {
			failed(err)
		}
	})
	return s
}

// stop returns once the goroutine has ended.
func (s *steward) stop() {
	s.cancel()
	s.done.Wait()
}

func (s *steward) run(ctx context.Context) {
	lease := s.m.conn.set.stream.lease
	every := min(lease/4, pollEvery)
	tick := time.NewTicker(every)
	defer tick.Stop()
	var prolonged, floored time.Time
	cleaned := time.Now().Add(-dismissAfter + time.Duration(rand.Int64N(int64(time.Minute)))) // not all members at once
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		now := time.Now()
		within, cancel := context.WithTimeout(ctx, s.m.conn.set.readTimeout+s.m.conn.set.dialTimeout)
		if now.Sub(prolonged) >= lease/4-every/2 && s.prolong(within) == nil {
			prolonged = now
		}
		if now.Sub(floored) >= pollEvery-every/2 && s.findFloors(within) == nil {
			floored = now
		}
		if now.Sub(cleaned) >= dismissAfter {
			cleaned = now
			s.dismiss(within)
		}
		cancel()
	}
}

// prolong prolongs the leases of everything that is held and not given back.
func (s *steward) prolong(ctx context.Context) error {
	end, err := s.m.claiming(ctx)
	if err != nil {
		return err
	}
	defer end()
	pipe := s.m.conn.pub.Pipeline()
	for _, src := range s.m.all() {
		for _, one := range []*source{src, src.parked} {
			ids := s.m.heldIDs(one)
			if len(ids) == 0 {
				continue
			}
			args := []any{"xclaim", one.key, s.m.group, s.m.consumer, 0}
			for _, id := range ids {
				args = append(args, id.String())
			}
			pipe.Do(ctx, append(args, "justid")...)
		}
	}
	if pipe.Len() == 0 {
		return nil
	}
	return execute(ctx, pipe)
}

// findFloors notes up to where everything is settled.
func (s *steward) findFloors(ctx context.Context) error {
	all := s.m.all()
	keys := make([]string, len(all))
	for i, src := range all {
		s.m.conn.keeper.note(time.Now(), src.channel)
		keys[i] = src.key
	}
	list, err := s.m.conn.groupsOfAll(ctx, keys)
	if err != nil {
		return err
	}
	for i, src := range all {
		state := list[i].state
		floor, ok := state.floors[s.m.group]
		if list[i].err != nil || !ok {
			continue // the reader finds out about that
		}
		s.m.mu.Lock()
		src.floor = floor
		s.m.mu.Unlock()
		s.lookForLoss(src, floor, state)
	}
	return nil
}

// lookForLoss reports entries that were removed before the group had them: by max_age, max_entries, or by hand.
// Entries are removed from the beginning: if more were than the group has had, it lost the difference. That says
// nothing of a group that has read nothing yet, unless something is there to be read, or was when we last looked.
func (s *steward) lookForLoss(src *source, floor entryID, state groupState) {
	now := time.Now()
	lost := max(0, state.removed-state.read[s.m.group])
	if behind := floor.less(later(src.last, state.last)); behind && !src.looked.IsZero() && lost > src.lost {
		s.m.queue.Gap(brokers.Gap{
			Since: src.looked, Until: now, Reason: brokers.GapOverflow, Missed: lost - src.lost, Err: errRemoved,
		})
	}
	src.looked, src.last, src.lost = now, state.last, lost
}

// errRemoved is why messages may have been missed that were stored.
var errRemoved = errors.New("entries were removed from the stream before they were delivered: by max_age, by max_entries, or by hand")

// dismiss removes consumers that are gone for good.
func (s *steward) dismiss(ctx context.Context) {
	for _, src := range s.m.all() {
		for _, one := range []*source{src, src.parked} {
			list, err := s.m.conn.pub.XInfoConsumers(ctx, one.key, s.m.group).Result()
			if err != nil {
				continue
			}
			for _, c := range list {
				if c.Pending == 0 && c.Idle >= dismissAfter && c.Name != s.m.consumer {
					_, _ = eval(ctx, s.m.conn.pub, dismissScript, []string{one.key}, s.m.group, c.Name)
				}
			}
		}
	}
}
