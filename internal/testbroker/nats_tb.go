package testbroker

import (
	"os"
	"testing"
)

// StartNATS starts a nats-server for one test and stops it when the test has ended. The program is built where it is not
// there yet.
func StartNATS(tb testing.TB, opts NATSOptions) *NATS {
	tb.Helper()
	if opts.Name == "" {
		opts.Name = tb.Name()
	}
	n, err := LaunchNATS(tb.Context(), opts)
	if err != nil {
		tb.Fatalf("%s: %v", tb.Name(), err)
	}
	tb.Cleanup(func() {
		if err := n.Stop(); err != nil {
			tb.Errorf("testbroker: stop: %v", err)
		}
	})
	return n
}

// RealNATS starts a nats-server of its own process for one test. Where none is required and none was built before, the
// test is skipped: building one takes longer than a plain go test should.
func RealNATS(tb testing.TB, opts NATSOptions) *NATS {
	tb.Helper()
	if !wantRealNATS(tb, opts) {
		tb.Skip("needs nats-server, which was not built (EVENTBUS_REQUIRE_REAL=1 builds it)")
	}
	return StartNATS(tb, opts)
}

// AnyNATS starts a nats-server of its own process for one test, or one in this process where none is required and none
// was built before.
func AnyNATS(tb testing.TB, opts NATSOptions) *NATS {
	tb.Helper()
	opts.InProcess = !wantRealNATS(tb, opts)
	return StartNATS(tb, opts)
}

func wantRealNATS(tb testing.TB, opts NATSOptions) bool {
	return os.Getenv(EnvRequireReal) == "1" || builtBefore(tb.Context(), opts.findProgram())
}
