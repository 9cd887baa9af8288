// Package watermill connects this library with Watermill (github.com/ThreeDotsLabs/watermill), in both directions.
//
// # Which direction
//
// A program that is built on Watermill, with its Router and its handlers, and wants one of our brokers: [OpenPublisher] and
// [OpenSubscriber] return Watermill's Publisher and Subscriber for a broker's URL. They pass Watermill's own test suite, on real
// servers that are killed and restarted in between.
//
// A program that is built on our bus, and has a broker that only Watermill has an adapter for, such as Google Cloud Pub/Sub or
// SQL: [NewConn] makes a connection of that adapter, for bus.New. It can promise no more than the adapter keeps.
//
// A program that moves from the one to the other handler by handler: [Handler] runs a Watermill handler in a subscription of
// the bus, and [Middleware] runs Watermill's middleware in our chain.
//
// # A message, here and there
//
// A Watermill message published by a [Publisher] is a message of ours with its UUID as ID, its metadata as headers and its payload
// as body; on a broker that has no place beside the body it is an event of ours that holds all three: see [Format]. A message
// received by a [Subscriber] is that in reverse. An event that a bus published arrives with its envelope as the payload and
// its id as the UUID, so that both kinds of program share a channel. Metadata may be anything: what no header can carry
// travels in one header, encoded.
//
// # What is different from Watermill's own adapters
//
//   - A nacked message waits before it comes again, longer each time, and may be given up after a number of attempts.
//   - A message whose entry cannot be read is told to a hook and settled. It ends no subscription.
//   - Close, and the end of Subscribe's context, let what is being handled finish: contexts of messages are cancelled only once
//     SubscriberConfig.CloseTimeout has passed. (A Watermill Router that stops cancels contexts of its own making no sooner.)
//   - Close never closes a connection that it was given.
//   - A message whose context is over is published like any other, so that a poison queue works after a timeout.
//   - Publishing shares batches, waits for a broker that is down, and resends what surely was not sent.
//
// What remains as Watermill has it: with InFlight 1, the default, a topic has one message out at a time.
package watermill
