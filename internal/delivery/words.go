package main

import (
	"strconv"

	"github.com/eventbus-go/eventbus/brokers"
)

// A promise in the words of a user.
type promise struct {
	field, title string
	value        func(brokers.Capabilities) string
	means        func(brokers.Capabilities) string
}

func yesNo(field, title string, is func(brokers.Capabilities) bool, yes, no string) promise {
	choose := func(a, b string) func(brokers.Capabilities) string {
		return func(c brokers.Capabilities) string {
			if is(c) {
				return a
			}
			return b
		}
	}
	return promise{field, title, choose("yes", "no"), choose(yes, no)}
}

// promises are those of brokers.Capabilities, in the order in which a user asks.
var promises = []promise{
	yesNo("Durable", "Kept until handled", func(c brokers.Capabilities) bool { return c.Durable },
		"What is published while a service is down is there when it is back, also after the broker was killed; what a handler "+
			"did not finish comes again. An event can therefore come twice: handle it so that this does no harm, or tell "+
			"repetitions by its id.",
		"An event is handed to the subscribers that are connected, once, and then forgotten. One that is published while a "+
			"service is away is gone for it; the interval is reported as a gap."),
	yesNo("Groups", "Consumer groups", func(c brokers.Capabilities) bool { return c.Groups },
		"The instances of a service that name one group share the events: each goes to one of them.",
		"Every instance gets every event. A subscription that names a group is refused when the service starts."),
	{"Order", "Order", func(c brokers.Capabilities) string {
		return map[brokers.Order]string{
			brokers.OrderNone: "none", brokers.OrderKey: "per key", brokers.OrderChannel: "per channel",
		}[c.Order]
	}, func(c brokers.Capabilities) string {
		switch c.Order {
		case brokers.OrderKey:
			return "Events of one key, such as one user's, arrive in the order in which one bus published them, also where several " +
				"instances share a group. An event that is retried comes when it comes."
		case brokers.OrderChannel:
			return "Events of one channel arrive in the order in which one bus published them."
		default:
			return "With several instances in a group, two events of one user may be handled at the same time or the wrong way " +
				"round. Decide by what an event says, such as a version, and not by when it came."
		}
	}},
	yesNo("Attempts", "Attempts are counted by the broker", func(c brokers.Capabilities) bool { return c.Attempts },
		"An event that kills its handler's process each time is given up on after max_attempts, since the count survives.",
		"The count begins again with each process: an event that kills its handler's process comes again for ever."),
	yesNo("Delay", "Delays", func(c brokers.Capabilities) bool { return c.Delay },
		"A retry waits at the broker, and an event may be published for later; both survive a restart of the service.",
		"A retry waits in the service that retries; an event cannot be published for later."),
	yesNo("Patterns", "Patterns", func(c brokers.Capabilities) bool { return c.Patterns },
		"A subscription may name its channels as shop.* (one token) or shop.> (one or more).",
		"A subscription names each channel. A wildcard is refused when the service starts."),
	yesNo("Replay", "The past", func(c brokers.Capabilities) bool { return c.Replay },
		"A new group begins with the first event that is kept, unless it asks to start now.",
		"A new subscription begins with the next event."),
	yesNo("Dedup", "Repetitions are dropped", func(c brokers.Capabilities) bool { return c.Dedup },
		"An event that the bus sends again, since a reply was lost, is stored once per channel, within the broker's window.",
		"An event that the bus sends again, since a reply was lost, may be delivered twice, with the same id."),
	{"MaxBytes", "Largest event", func(c brokers.Capabilities) string {
		if c.MaxBytes == 0 {
			return "no limit of its own"
		}
		return strconv.Itoa(c.MaxBytes) + " bytes"
	}, func(c brokers.Capabilities) string {
		if c.MaxBytes == 0 {
			return "The bus's own max_event_bytes applies."
		}
		return "A larger one is rejected and counted; its neighbours are sent. The URL can change the limit, up to the server's."
	}},
}

// words are what capabilities do not say of a broker.
type words struct{ what, besides string }

var brokerWords = map[string]words{
	"memory": {
		what: "In this process, for tests and small programs: nothing leaves it, and everything ends with it.",
	},
	"redis": {
		what: "Redis Pub/Sub: the fastest and the most forgetful. Right where an event that is missed does no harm, such as one " +
			"that only says that a cache is stale.",
		besides: "A message whose reply was lost is not sent again, since a server that thaws may still deliver it: a loss is " +
			"preferred to a repetition, and counted as `unconfirmed`.",
	},
	"redis+stream": {
		what: "Redis Streams. As durable as the server is told to be: switch on its append-only file, or a crash takes what was " +
			"accepted in the last seconds.",
	},
	"nats": {
		what:    "Core NATS: subscribers that are connected, no storage.",
		besides: "A server that closes a slow subscriber's connection, or drops for it, is noticed and reported as a gap.",
	},
	"nats+js": {
		what: "NATS JetStream: stored in one stream for each first token of a channel, unless the URL names another.",
		besides: "The server writes down what was handled ten times a second. Where it is killed, what was handled in the last " +
			"tenth of a second comes again, with the same id.",
	},
	"kafka": {
		what: "Apache Kafka: a topic for each channel, partitioned by key.",
		besides: "What a consumer had that was killed goes to another one when its session has timed out. A retry holds up no " +
			"other event, but what was handled behind it comes again where the process dies meanwhile.",
	},
	"amqp": {
		what: "RabbitMQ: a topic exchange, and a queue for each group.",
	},
}
