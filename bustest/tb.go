package bustest

import "context"

// TB is what this package needs of a *testing.T, so that other test frameworks can be used, too.
type TB interface {
	// Helper marks the caller as a helper of tests.
	Helper()
	// Errorf fails the test and lets it go on.
	Errorf(format string, args ...any)
	// Cleanup calls f when the test has ended.
	Cleanup(f func())
	// Context ends just before what Cleanup was given is called.
	Context() context.Context
}
