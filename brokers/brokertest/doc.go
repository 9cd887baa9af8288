// Package brokertest holds a driver to its promises: it is the conformance suite of package brokers.
//
// A driver's test gives Run a [Harness] and gets one subtest for each rule of the contract that applies to it:
//
//	func TestTheDriverKeepsItsPromises(t *testing.T) {
//		brokertest.Run(t, brokertest.Harness{Open: open})
//	}
//
// The rules are data (see [Cases]): each has a sentence for a name, an explanation that is printed when it is broken,
// and the promises that it needs. A rule of a promise that the driver does not make is listed in the test's log as not
// promised; a rule that needs a fault the harness cannot cause is listed too. A promise without a rule fails the test,
// since nobody would hold the driver to it.
//
// The suite never sleeps: it waits for what must come, at most Harness.Patience. That nothing comes is shown by a later
// message that does come, or, where there can be none, by watching for a short while.
//
// The suite is tested itself: broken_test.go runs it against brokers that break one promise each.
package brokertest
