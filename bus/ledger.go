package bus

import (
	"maps"

	"github.com/eventbus-go/eventbus/brokers"
)

// DropReason says in a word why a message, or a delivery, was given up. It is used as the value of a metric's label.
type DropReason string

// Why a published message was dropped.
const (
	DropLaneFull    DropReason = "lane_full"   // its lane was full, and the policy dropped the newest
	DropEvicted     DropReason = "evicted"     // it made room for one of higher priority
	DropUnconfirmed DropReason = "unconfirmed" // sent, but the connection broke before the reply; it may have arrived
	DropCanceled    DropReason = "canceled"    // the context of its Publish ended while it was queued
	DropNotSent     DropReason = "not_sent"    // the broker could not be reached, for a reason that waiting does not cure
	DropClosed      DropReason = "closed"      // it was still queued when Close's deadline passed

	// DropRejected is what the Dropped hook is told of a message that the broker refused for good. The ledger has it under
	// Rejected.
	DropRejected DropReason = "rejected"
)

// Why a delivery was dropped instead of being handled.
const (
	DropByHandler DropReason = "handler"  // its handler returned Drop
	DropShutdown  DropReason = "shutdown" // it was not handled when Close's deadline passed, and its broker takes nothing back
)

// A Ledger accounts for published messages; its unit is one event on one channel. At every moment
//
//	Accepted = Confirmed + Rejected + Queued + the sum of Dropped
//
// Nothing leaves it silently.
type Ledger struct {
	// Accepted were taken by Emit, Publish or Send, those dropped at once included.
	Accepted int64
	// Confirmed were taken by the broker, or by the fallback of their rule.
	Confirmed int64
	// FellBack is how many of Confirmed a fallback took.
	FellBack int64
	// Rejected were refused by the broker for good.
	Rejected int64
	// Queued wait in a lane or are being sent.
	Queued int64
	// Dropped counts, by reason, those that were given up.
	Dropped map[DropReason]int64
}

// DroppedTotal sums Dropped over its reasons.
func (l Ledger) DroppedTotal() int64 { return total(l.Dropped) }

// Balanced reports whether the books balance. It is never false in a snapshot taken by Bus.Stats.
func (l Ledger) Balanced() bool {
	return l.Accepted == l.Confirmed+l.Rejected+l.Queued+l.DroppedTotal()
}

func (l *Ledger) add(o Ledger) {
	l.Accepted += o.Accepted
	l.Confirmed += o.Confirmed
	l.FellBack += o.FellBack
	l.Rejected += o.Rejected
	l.Queued += o.Queued
	addCounts(&l.Dropped, o.Dropped)
}

func (l *Ledger) drop(r DropReason, n int64) {
	if l.Dropped == nil {
		l.Dropped = make(map[DropReason]int64)
	}
	l.Dropped[r] += n
}

func (l *Ledger) snapshot() Ledger {
	s := *l
	s.Dropped = maps.Clone(l.Dropped)
	return s
}

// SubscriptionStats accounts for what a subscription received. At every moment
//
//	Received = Handled + Failed + Behind + Duplicate + Filtered + Redelivered + InFlight + the sums of Malformed and Dropped
type SubscriptionStats struct {
	// Received were handed over by the broker.
	Received int64
	// Handled returned nil from their handler.
	Handled int64
	// Failed ran out of attempts, or failed for good.
	Failed int64
	// DedupErrors counts the failures of the subscription's Dedup.Store, and the events that were handled without it.
	DedupErrors int64
	// DeadLettered are those of Failed and Malformed whose dead letter was written, or waits in this process to be.
	DeadLettered int64
	// Behind were put into the dead letters untried, behind an earlier event of their key: see Subscription.KeepOrder.
	Behind int64
	// Duplicate arrived on another channel, or again, after they had been handled.
	Duplicate int64
	// Filtered were of types that the subscription does not want but its channel carries.
	Filtered int64
	// Malformed counts, by reason, what is not an event.
	Malformed map[brokers.Reason]int64
	// Dropped counts, by reason, what was given up unhandled.
	Dropped map[DropReason]int64
	// InFlight wait for a worker or are being handled.
	InFlight int64
	// Waiting are those of InFlight that failed and wait here for their next attempt, without a worker.
	Waiting int64
	// Concurrency is how many handlers may run at once.
	Concurrency int64
	// Stuck counts the handlers that were given up, since they ignored the end of their context, and Late those of them that have
	// returned after all. Their events are among Failed, unless a shutdown gave them back.
	Stuck, Late int64
	// Breaker is the state of the subscription's breaker, and BreakerOpened counts how often it has opened.
	Breaker       BreakerState
	BreakerOpened int64
	// Retries counts attempts after the first one.
	Retries int64
	// Panics counts those of handlers, contained.
	Panics int64
	// Redelivered counts what was given back to the broker to be delivered again.
	Redelivered int64
	// Gaps counts the intervals in which messages may have been missed; Missed is how many were, as far as it is known.
	Gaps   int64
	Missed int64
	// Took is how long handling took from when a worker took an event until its outcome, waits in place for another attempt and the
	// write of a dead letter included. Age is how old events were when their first attempt began. They are measured once
	// [Bus.Measure] was called.
	Took, Age Histogram
	// Paused is whether Sub.Pause, or Subscription.Paused, keeps events from being handed out.
	Paused bool
	// Ready is whether the broker has confirmed the subscription.
	Ready bool
}

// Balanced reports whether the books balance. It is never false in a snapshot taken by Bus.Stats.
func (s SubscriptionStats) Balanced() bool {
	return s.Received == s.Handled+s.Failed+s.Behind+s.Duplicate+s.Filtered+s.Redelivered+s.InFlight+total(s.Malformed)+total(s.Dropped)
}

// DroppedTotal sums Dropped over its reasons.
func (s SubscriptionStats) DroppedTotal() int64 { return total(s.Dropped) }

// MalformedTotal sums Malformed over its reasons.
func (s SubscriptionStats) MalformedTotal() int64 { return total(s.Malformed) }

func (s *SubscriptionStats) snapshot() SubscriptionStats {
	c := *s
	c.Malformed = maps.Clone(s.Malformed)
	c.Dropped = maps.Clone(s.Dropped)
	c.Took, c.Age = s.Took.snapshot(), s.Age.snapshot()
	return c
}

// BrokerStats accounts for what is published to one broker.
type BrokerStats struct {
	// Published is the ledger of the messages that the rules send to this broker, whichever broker took them in the end.
	Published Ledger
	// Unavailable says that the messages of rules with a fallback go there: every send has failed for
	// LaneConfig.FallbackAfter. It is judged only where rules name a fallback for this broker.
	Unavailable bool
	// Switches counts how often the broker became unavailable, and Returns how often it was sent to again.
	Switches, Returns int64
	// MaybeTwice counts the messages that were sent to one of the two, broker and fallback, although the other one may have
	// them. That happens where the other one is durable, so that a second copy of an event is within its promise.
	MaybeTwice int64
	// Unroutable counts the messages that the broker took and kept for nobody, since no group and no subscription reads their
	// channel. They are among the confirmed. It stays 0 where the broker does not say: only RabbitMQ does.
	Unroutable int64
}

// Stats is a snapshot of everything the bus counts.
type Stats struct {
	// Published is the ledger of messages, the sum over all brokers.
	Published Ledger
	// Brokers by name; a single one is called [DefaultBroker].
	Brokers map[string]BrokerStats
	// Refused counts events, not messages, that were never accepted: invalid, without a route, or too late.
	Refused int64
	// Subscriptions by name.
	Subscriptions map[string]SubscriptionStats
	// Panics counts those of hooks and codecs, contained.
	Panics int64
	// HooksMissed counts drops that could not be offered to the hook, since it was too slow.
	HooksMissed int64
	// DeadLetters says how dead letters fare.
	DeadLetters DeadLetterStats
}

func total[K comparable](m map[K]int64) int64 {
	var n int64
	for _, v := range m {
		n += v
	}
	return n
}

func addCounts[K comparable](dst *map[K]int64, src map[K]int64) {
	if len(src) == 0 {
		return
	}
	if *dst == nil {
		*dst = make(map[K]int64, len(src))
	}
	for k, v := range src {
		(*dst)[k] += v
	}
}
