package observe

import (
	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/schema"
)

// The labels.
const (
	labelBroker       = "broker"       // the name of a broker in the configuration; "main" where there is one
	labelSubscription = "subscription" // its Name
	labelReason       = "reason"
	labelGroup        = "group"
	labelChannel      = "channel"
	labelProbe        = "probe"
)

// ofBuses are the metrics of a bus itself.
var ofBuses = readings[bus.Stats]{
	{
		Metric: counter("publish_refused",
			"Events that Publish or Emit refused: invalid, without a route, or after Close."),
		value: func(s bus.Stats) float64 { return float64(s.Refused) },
	},
	{
		Metric: counter("callback_panics", "Panics of hooks, payload codecs, drivers and the log handler, contained."),
		value:  func(s bus.Stats) float64 { return float64(s.Panics) },
	},
	{
		Metric: counter("hooks_missed", "Drops that were not offered to the Dropped hook, since it was too slow."),
		value:  func(s bus.Stats) float64 { return float64(s.HooksMissed) },
	},
	{
		Metric: counter("dead_letters_written", "Dead letters that their store took from this process."),
		value:  func(s bus.Stats) float64 { return float64(s.DeadLetters.Written) },
	},
	{
		Metric: gauge("dead_letters_waiting", "Dead letters that wait in this process, since their store is away."),
		value:  func(s bus.Stats) float64 { return float64(s.DeadLetters.Waiting) },
	},
	{
		Metric: counter("dead_letters_lost", "Dead letters that could not be kept: their events are gone."),
		value:  func(s bus.Stats) float64 { return float64(s.DeadLetters.Lost) },
	},
	{
		Metric: gauge("dead_letters_failing", "1 while dead letters cannot be written."),
		value:  func(s bus.Stats) float64 { return yes(s.DeadLetters.Err != nil) },
	},
}

// ofBrokers are the metrics of what is published to a broker. Their unit is one event on one channel.
var ofBrokers = readings[bus.BrokerStats]{
	{
		Metric: counter("publish_accepted",
			"Messages taken by Publish, Emit or Send: one for each event and channel.", labelBroker),
		value: func(s bus.BrokerStats) float64 { return float64(s.Published.Accepted) },
	},
	{
		Metric: counter("publish_confirmed", "Messages that the broker, or its fallback, has taken.", labelBroker),
		value:  func(s bus.BrokerStats) float64 { return float64(s.Published.Confirmed) },
	},
	{
		Metric: counter("publish_fell_back", "Those of the confirmed messages that a fallback took.", labelBroker),
		value:  func(s bus.BrokerStats) float64 { return float64(s.Published.FellBack) },
	},
	{
		Metric: counter("publish_rejected", "Messages that the broker refused for good.", labelBroker),
		value:  func(s bus.BrokerStats) float64 { return float64(s.Published.Rejected) },
	},
	{
		Metric: counter("publish_dropped", "Messages that were given up: lost.", labelBroker, labelReason),
		byReason: func(s bus.BrokerStats) map[string]float64 {
			return counts(s.Published.Dropped, bus.DropLaneFull, bus.DropEvicted, bus.DropUnconfirmed, bus.DropCanceled,
				bus.DropNotSent, bus.DropClosed)
		},
	},
	{
		Metric: gauge("publish_queued", "Messages that wait in a lane or are being sent.", labelBroker),
		value:  func(s bus.BrokerStats) float64 { return float64(s.Published.Queued) },
	},
	{
		Metric: counter("publish_maybe_twice",
			"Messages sent to a broker or its fallback although the other one may have them.", labelBroker),
		value: func(s bus.BrokerStats) float64 { return float64(s.MaybeTwice) },
	},
	{
		Metric: counter("publish_unroutable", "Messages that the broker took and kept for nobody.", labelBroker),
		value:  func(s bus.BrokerStats) float64 { return float64(s.Unroutable) },
	},
	{
		Metric: largest(gauge("broker_unavailable",
			"1 while messages go to the fallback of this broker.", labelBroker)),
		value: func(s bus.BrokerStats) float64 { return yes(s.Unavailable) },
	},
	{
		Metric: counter("broker_switches", "How often messages began to go to the fallback.", labelBroker),
		value:  func(s bus.BrokerStats) float64 { return float64(s.Switches) },
	},
	{
		Metric: counter("broker_returns", "How often messages went to the broker again.", labelBroker),
		value:  func(s bus.BrokerStats) float64 { return float64(s.Returns) },
	},
}

// ofSubscriptions are the metrics of what a subscription received. Their unit is one delivery.
var ofSubscriptions = readings[bus.SubscriptionStats]{
	{
		Metric: counter("subscription_received", "Deliveries that a broker handed over.", labelSubscription),
		value:  func(s bus.SubscriptionStats) float64 { return float64(s.Received) },
	},
	{
		Metric: counter("subscription_handled", "Events whose handler succeeded.", labelSubscription),
		value:  func(s bus.SubscriptionStats) float64 { return float64(s.Handled) },
	},
	{
		Metric: counter("subscription_failed",
			"Events that were given up: failed for good, or out of attempts.", labelSubscription),
		value: func(s bus.SubscriptionStats) float64 { return float64(s.Failed) },
	},
	{
		Metric: counter("subscription_dead_lettered",
			"Those of the failed and malformed that are kept as dead letters.", labelSubscription),
		value: func(s bus.SubscriptionStats) float64 { return float64(s.DeadLettered) },
	},
	{
		Metric: counter("subscription_behind",
			"Events that wait in the dead letters, untried, behind an earlier one of their key.", labelSubscription),
		value: func(s bus.SubscriptionStats) float64 { return float64(s.Behind) },
	},
	{
		Metric: counter("subscription_duplicate", "Deliveries of events that had been handled.", labelSubscription),
		value:  func(s bus.SubscriptionStats) float64 { return float64(s.Duplicate) },
	},
	{
		Metric: counter("subscription_dedup_errors",
			"Failures of the store by which duplicates are recognised.", labelSubscription),
		value: func(s bus.SubscriptionStats) float64 { return float64(s.DedupErrors) },
	},
	{
		Metric: counter("subscription_filtered",
			"Events of types that the subscription does not want but its channel carries.", labelSubscription),
		value: func(s bus.SubscriptionStats) float64 { return float64(s.Filtered) },
	},
	{
		Metric: counter("subscription_malformed", "Deliveries that are no event.", labelSubscription, labelReason),
		byReason: func(s bus.SubscriptionStats) map[string]float64 {
			return counts(s.Malformed, brokers.ReasonTooLarge, brokers.ReasonForeign, brokers.Reason(schema.ReasonSyntax),
				brokers.Reason(schema.ReasonMissingField), brokers.Reason(schema.ReasonBadField))
		},
	},
	{
		Metric: counter("subscription_dropped",
			"Deliveries that were given up unhandled.", labelSubscription, labelReason),
		byReason: func(s bus.SubscriptionStats) map[string]float64 {
			return counts(s.Dropped, bus.DropByHandler, bus.DropShutdown)
		},
	},
	{
		Metric: counter("subscription_redelivered",
			"Deliveries given back to the broker, to come again.", labelSubscription),
		value: func(s bus.SubscriptionStats) float64 { return float64(s.Redelivered) },
	},
	{
		Metric: gauge("subscription_in_flight",
			"Events that wait for a worker, or are being handled.", labelSubscription),
		value: func(s bus.SubscriptionStats) float64 { return float64(s.InFlight) },
	},
	{
		Metric: gauge("subscription_waiting",
			"Those of the events in flight that wait for their next attempt.", labelSubscription),
		value: func(s bus.SubscriptionStats) float64 { return float64(s.Waiting) },
	},
	{
		Metric: largest(gauge("subscription_paused",
			"1 while the program keeps events from being handed out.", labelSubscription)),
		value: func(s bus.SubscriptionStats) float64 { return yes(s.Paused) },
	},
	{
		Metric: gauge("subscription_concurrency", "How many handlers may run at once.", labelSubscription),
		value:  func(s bus.SubscriptionStats) float64 { return float64(s.Concurrency) },
	},
	{
		Metric: counter("subscription_retries", "Attempts after an event's first.", labelSubscription),
		value:  func(s bus.SubscriptionStats) float64 { return float64(s.Retries) },
	},
	{
		Metric: largest(gauge("subscription_breaker_state",
			"2 while the breaker is open and no event is handed out, 1 while it is half open.", labelSubscription)),
		value: func(s bus.SubscriptionStats) float64 { return float64(s.Breaker) },
	},
	{
		Metric: counter("subscription_breaker_opened", "How often the breaker has opened.", labelSubscription),
		value:  func(s bus.SubscriptionStats) float64 { return float64(s.BreakerOpened) },
	},
	{
		Metric: counter("subscription_stuck",
			"Handlers that were given up, since they ignored the end of their context.", labelSubscription),
		value: func(s bus.SubscriptionStats) float64 { return float64(s.Stuck) },
	},
	{
		Metric: counter("subscription_late", "Stuck handlers that have returned after all.", labelSubscription),
		value:  func(s bus.SubscriptionStats) float64 { return float64(s.Late) },
	},
	{
		Metric: counter("subscription_panics", "Panics of handlers, contained.", labelSubscription),
		value:  func(s bus.SubscriptionStats) float64 { return float64(s.Panics) },
	},
	{
		Metric: counter("subscription_gaps", "Intervals in which messages may have been missed.", labelSubscription),
		value:  func(s bus.SubscriptionStats) float64 { return float64(s.Gaps) },
	},
	{
		Metric: counter("subscription_missed",
			"Messages missed in gaps, as far as their number is known.", labelSubscription),
		value: func(s bus.SubscriptionStats) float64 { return float64(s.Missed) },
	},
	{
		Metric: smallest(gauge("subscription_ready",
			"1 once every broker has confirmed the subscription.", labelSubscription)),
		value: func(s bus.SubscriptionStats) float64 { return yes(s.Ready) },
	},
	{
		Metric: &Metric{
			Name: prefix + "subscription_handling_seconds", Kind: Histogram, Labels: []string{labelSubscription},
			Help: "How long events kept a worker, waits in place for another attempt included.",
		},
		histogram: func(s bus.SubscriptionStats) bus.Histogram { return s.Took },
	},
	{
		Metric: &Metric{
			Name: prefix + "subscription_event_age_seconds", Kind: Histogram, Labels: []string{labelSubscription},
			Help: "How old events were, by their timestamps, when their first attempt began.",
		},
		histogram: func(s bus.SubscriptionStats) bus.Histogram { return s.Age },
	},
}

// What is asked of brokers and stores.
var (
	brokerUp = smallest(gauge("broker_up", "1 where the broker answered, 0 where it did not.", labelBroker))

	lagWaiting = gauge("lag_waiting",
		"Messages that were not delivered to the group yet. Every process of the group reports the same. "+
			"RabbitMQ counts what matches a pattern in one: the channel is the pattern there.",
		labelBroker, labelGroup, labelChannel)
	lagPending = gauge("lag_pending",
		"Messages that were delivered to the group and are not settled. Every process of the group reports the same.",
		labelBroker, labelGroup, labelChannel)
	lagOldest = largest(gauge("lag_oldest_age_seconds",
		"How long ago the oldest message was published that the group has not settled; 0 for none.",
		labelBroker, labelGroup, labelChannel))

	lettersDepth = gauge("dead_letters_depth",
		"Dead letters in the store. Every process that shares it reports the same.")
	lettersAge = gauge("dead_letters_oldest_age_seconds",
		"How long ago the dead letter failed that waits longest; 0 for none. Every process that shares the store reports the same.")
	lettersEvicted = counter("dead_letters_evicted",
		"Dead letters that made room for others, in a store that does that: lost.")

	probeFailed = largest(gauge("probe_failed",
		"1 where the metrics of a probe (brokers, lag, dead_letters) could not be read, or not all of them.", labelProbe))

	probed = []*Metric{
		brokerUp, lagWaiting, lagPending, lagOldest, lettersDepth, lettersAge, lettersEvicted, probeFailed,
	}
)
