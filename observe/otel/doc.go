// Package otel follows events through OpenTelemetry, by its API alone: what becomes of spans and measurements is the
// business of the SDK that the program has set up, and without one nothing is recorded.
//
//	b, err := bus.Open(ctx, url, otel.Instrument())
//
// An event that is published gets a span of the kind producer, and carries its context as W3C traceparent and
// tracestate: in its metadata, so that it survives every broker, fallback and dead letter, and as headers on brokers
// that carry some, for the tools of others. An attempt to handle it gets a span of the kind consumer, with a link to
// the publisher's span; or as a child of it, where [AsChild] says so. Where the context of Emit has no span and the
// event's metadata has a traceparent already, as one from an outbox has, that trace goes on.
//
// Names and attributes are those of the semantic conventions for messaging, version 1.43.0:
//
//	send user_service.events.user     of Publish and Emit, where the rules name one channel
//	send user.registered              where they name several: the type of the event
//	create user_service.events.user   of Pack, whose messages are sent by Send later
//	process user_service.events.user  of an attempt to handle it
//
//	messaging.system                         redis, nats, kafka, rabbitmq, memory
//	messaging.operation.name, .type          as above
//	messaging.destination.name               the channel; where there are several, they are in eventbus.channels
//	messaging.destination.subscription.name  the subscription
//	messaging.consumer.group.name            its group
//	messaging.message.id                     the event's id
//	messaging.message.conversation_id        the metadata's correlation_id, where it is a text
//	error.type                               timeout, panic, canceled, dropped, or the error's type
//	eventbus.event.type, eventbus.attempt    what no convention has a name for
//
// A sampler sees those that events of a kind have in common. messaging.message.id, .conversation_id and eventbus.attempt are added once
// it has decided that the span is recorded.
//
// The span of a Publish ends with the outcome; that of an Emit when the event is queued, since nobody waits for what
// becomes of it: a message that is dropped later is in the ledger and not in the trace.
//
// [Metrics] hands the metrics of package observe to a meter.
package otel
