package brokertest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
)

// settling changes what is settled.
func settling(change func(s *brokers.Settlement)) breaker {
	return each(func(w *wrapped) {
		w.settle = func(list []brokers.Settlement) []brokers.Settlement {
			for i := range list {
				change(&list[i])
			}
			return list
		}
	})
}

// ignoring leaves what has the verdict unsettled.
func ignoring(v brokers.Verdict) breaker {
	return each(func(w *wrapped) {
		w.settle = func(list []brokers.Settlement) []brokers.Settlement {
			return slices.DeleteFunc(list, func(s brokers.Settlement) bool { return s.Verdict == v })
		}
	})
}

const (
	caseOwnGroup = "settling for one group settles nothing for another"
	caseOneKey   = "a message goes to no member while another has one of its key unsettled"
	caseAgain    = "a delivery that is asked for again comes again, unchanged"
	caseSettled  = "what is acked or terminated never comes again"
	caseNext     = "what a member did not settle goes to the next one"
	caseGrow     = "the attempt counts from 1 and grows by 1 with each redelivery"
	caseSurvive  = "the attempt survives the consumer"
)

// ownGroups gives each member a group of its own.
func ownGroups(*env) func(*wrapped) {
	var n atomic.Int64
	return asking(func(s *brokers.Subscription) {
		if s.Group != "" {
			s.Group = fmt.Sprint(s.Group, "-", n.Add(1))
		}
	})(nil)
}

var groupBreaches = []breach{
	{"delivers a group's messages to all members", plain, "members of a group share the messages", ownGroups},
	{"shares messages among all groups", plain, "each group gets every message, and so does a subscription without one",
		asking(func(s *brokers.Subscription) {
			if s.Group != "" {
				s.Group = "everybody"
			}
		})},
	{"gives two members one key", plain, caseOneKey, twoMembersOneKey},
	{"stops a group when a member leaves", plain,
		"the members that stay get what comes after one has left", func(*env) func(*wrapped) {
			var left atomic.Bool
			return func(w *wrapped) {
				w.subscribe = func(ctx context.Context, s brokers.Subscription, sink brokers.Sink, next subscribeFunc) error {
					defer left.Store(true)
					return next(ctx, s, &tap{Sink: sink, deliver: func(batch []brokers.Delivery, deliver deliverFunc) {
						if !left.Load() {
							deliver(batch)
						}
					}})
				}
			}
		}},
	{"settles for another group", plain, caseOwnGroup, func(*env) func(*wrapped) {
		var owners sync.Map // token to settler
		return func(w *wrapped) {
			w.deliver = func(batch []brokers.Delivery, next deliverFunc) {
				batch = slices.Clone(batch)
				for i := range batch {
					owners.Store(batch[i].Token, batch[i].Settler)
					batch[i].Settler = anyOwner{batch[i].Settler, &owners}
				}
				next(batch)
			}
		}
	}},
	{"forgets redeliveries", plain, caseAgain, settling(func(s *brokers.Settlement) { s.Verdict = brokers.Ack })},
	{"changes what it redelivers", plain, caseAgain, onDelivery(func(batch []brokers.Delivery) []brokers.Delivery {
		for i := range batch {
			if batch[i].Attempt > 1 {
				batch[i].Body = append(slices.Clone(batch[i].Body), ' ')
			}
		}
		return batch
	})},
	{"does not take Terminate for an end", plain, caseSettled, ignoring(brokers.Terminate)},
	{"does not take Ack for an end", plain, caseSettled, ignoring(brokers.Ack)},
	{"loses what a member did not settle", plain, caseNext, func(*env) func(*wrapped) {
		return func(w *wrapped) {
			w.deliver = func(batch []brokers.Delivery, next deliverFunc) {
				ackAll(batch...) // before the case sees them, and lets the member leave
				next(batch)
			}
		}
	}},
	{"holds everything up for one redelivery", plain, "a message that waits for its redelivery holds up no other",
		func(*env) func(*wrapped) {
			var held atomic.Bool
			return func(w *wrapped) {
				w.settle = func(list []brokers.Settlement) []brokers.Settlement {
					held.Store(held.Load() || list[0].After > time.Minute)
					return list
				}
				w.deliver = func(batch []brokers.Delivery, next deliverFunc) {
					if !held.Load() {
						next(batch)
					}
				}
			}
		}},
	{"redelivers at once", plain, "a redelivery waits at least as long as it was asked to",
		settling(func(s *brokers.Settlement) { s.After = 0 })},
	{"ignores NotBefore", plain, "a message with NotBefore is not delivered earlier",
		onPublish(func(ctx context.Context, msgs []brokers.Message, next publishFunc) error {
			msgs = slices.Clone(msgs)
			for i := range msgs {
				msgs[i].NotBefore = time.Time{}
			}
			return next(ctx, msgs)
		})},
	{"does not count attempts", plain, caseGrow, onDelivery(func(batch []brokers.Delivery) []brokers.Delivery {
		for i := range batch {
			batch[i].Attempt = 1
		}
		return batch
	})},
	{"counts attempts from 0", plain, caseGrow, onDelivery(func(batch []brokers.Delivery) []brokers.Delivery {
		for i := range batch {
			batch[i].Attempt--
		}
		return batch
	})},
	{"counts attempts in the consumer", plain, caseSurvive, each(func(w *wrapped) {
		seen := make(map[string]int)
		w.deliver = func(batch []brokers.Delivery, next deliverFunc) {
			batch = slices.Clone(batch)
			for i := range batch {
				seen[batch[i].ID]++
				batch[i].Attempt = seen[batch[i].ID]
			}
			next(batch)
		}
	})},
	{"promises durability and forgets its groups", plain,
		"what is published while no member of a known group runs is delivered later",
		func(e *env) func(*wrapped) {
			forget, promise := ownGroups(e), promising(func(c *brokers.Capabilities) { c.Durable = true })(e)
			return func(w *wrapped) {
				forget(w)
				promise(w)
			}
		}},
	{"forgets what it confirmed when it dies", rich,
		"what the broker has confirmed survives its death", func(e *env) func(*wrapped) {
			var lost atomic.Bool
			kill := e.h.Kill
			e.h.Kill = func() error {
				lost.Store(true)
				return kill()
			}
			return onDelivery(func(batch []brokers.Delivery) []brokers.Delivery {
				if lost.Load() {
					ackAll(batch...)
					return nil
				}
				return batch
			})(e)
		}},
}

// twoMembersOneKey hides the keys from the broker. Nothing is settled until two members have unsettled deliveries of two
// keys.
func twoMembersOneKey(e *env) func(*wrapped) {
	var keys sync.Map // by message
	var mu sync.Mutex
	holders := make(map[string]*wrapped)
	shared := make(map[string]bool)
	twice := make(chan struct{})
	hold := func(w *wrapped, key string) {
		mu.Lock()
		defer mu.Unlock()
		if holders[key] == nil {
			holders[key] = w
		}
		if holders[key] != w && !shared[key] {
			if shared[key] = true; len(shared) == 2 {
				close(twice)
			}
		}
	}
	return func(w *wrapped) {
		w.publish = func(ctx context.Context, msgs []brokers.Message, next publishFunc) error {
			msgs = slices.Clone(msgs)
			for i := range msgs {
				keys.Store(msgs[i].ID, msgs[i].Key)
				msgs[i].Key = ""
			}
			return next(ctx, msgs)
		}
		w.deliver = func(batch []brokers.Delivery, next deliverFunc) {
			batch = slices.Clone(batch)
			for i := range batch {
				key, _ := keys.Load(batch[i].ID)
				batch[i].Key = key.(string)
			}
			next(batch)
			for _, d := range batch { // which the sink has seen by now, while the other member's are unsettled
				hold(w, d.Key)
			}
		}
		w.settle = func(list []brokers.Settlement) []brokers.Settlement {
			select {
			case <-twice:
			case <-e.over:
			}
			return list
		}
	}
}

// anyOwner settles a delivery with whatever settler it came with.
type anyOwner struct {
	brokers.Settler
	owners *sync.Map
}

func (a anyOwner) Settle(ctx context.Context, list []brokers.Settlement) error {
	for _, s := range list {
		owner, _ := a.owners.Load(s.Token)
		if err := owner.(brokers.Settler).Settle(ctx, []brokers.Settlement{s}); err != nil {
			return err
		}
	}
	return nil
}
