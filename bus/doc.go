// Package bus publishes events and hands them to handlers, without the service knowing which broker carries them. Start
// here.
//
// A service opens a [Bus] by a URL, a file or the environment, publishes with [Bus.Emit] (fire and forget) or
// [Bus.Publish] (waits), and handles with [Bus.Subscribe] and [Bus.Start] or [Bus.Run]:
//
//	b, err := bus.Open(ctx, "redis://localhost:6379")
//	...
//	defer b.Close(ctx)
//	b.Emit(ctx, userservice.NewUserRegistered(userservice.UserRegisteredPayload{UserID: 123, Email: "a@example.com"}))
//
// What it promises:
//
//   - A failing or frozen broker never fails, and never slows, the operation that emits. Queues are bounded, and what
//     does not fit is dropped by a policy.
//   - Nothing is lost silently. Every message is in the ledger of [Bus.Stats] as confirmed, rejected, queued or dropped for
//     a reason; every interval in which a subscription may have missed messages is a [Gap].
//   - Events of one key, which is the subject unless their type says otherwise, are sent in the order they were
//     published, and handled one at a time in the order they arrive.
//   - Handlers of one subscription run concurrently up to its bound. A panic in a handler, hook or codec is contained.
//   - What a subscription needs and its broker does not promise is refused at start-up.
//
// The broker's driver is imported for its side effect: brokers/redis, brokers/memory, or all of them by brokers/all.
// Rules that map events to channels are those of package router; the wire format is that of package schema.
package bus
