// Package bustest tests what uses a bus, without a broker and without waiting.
//
// A [Recorder] stands where a service expects a bus.Publisher. It checks, routes and encodes each event as a bus does, keeps it,
// and compares it with what a test expects:
//
//	rec := bustest.NewRecorder(t)
//	NewAccounts(db, rec).Promote(ctx, 456)
//	rec.Expect(bustest.Event(userservice.RoleAssigned).Subject("user:456").On("user_service.events.security"))
//	rec.ExpectNoMore()
//
// A [Broker] is a broker in memory that misbehaves by a script: it drops, duplicates, delays and reorders deliveries, crashes a
// consumer between its handler and the acknowledgement, and goes away for a while. A handler that survives it survives the real
// ones.
//
// [Simulate] runs a test for many seeds, each in a bubble of virtual time (testing/synctest), where a retry schedule of 24 hours
// takes milliseconds. What a broker decides by chance depends on its seed and on the events alone, so that a seed that fails
// fails again, by itself: go test -run 'TestName/seed=17'.
package bustest
