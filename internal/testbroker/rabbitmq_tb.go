package testbroker

import (
	"errors"
	"os"
	"testing"
)

// StartRabbitMQ starts a RabbitMQ for one test and stops it when the test has ended. Where none is installed it skips the
// test, or fails it: see the package comment.
func StartRabbitMQ(tb testing.TB, opts RabbitMQOptions) *RabbitMQ {
	tb.Helper()
	if opts.Name == "" {
		opts.Name = tb.Name()
	}
	r, err := StartRabbitMQServer(tb.Context(), opts)
	NeedRabbitMQ(tb, err)
	tb.Cleanup(func() {
		if err := r.Stop(); err != nil {
			tb.Errorf("testbroker: stop: %v", err)
		}
	})
	return r
}

// NeedRabbitMQ does with the error of StartRabbitMQServer what StartRabbitMQ does: it skips the test where no server is
// installed, or fails it. It is for tests that share a server, since a start takes some 6 s.
func NeedRabbitMQ(tb testing.TB, err error) {
	tb.Helper()
	if errors.Is(err, ErrNoServer) && os.Getenv(EnvRequireReal) != "1" {
		tb.Skip("needs rabbitmq-server, which is not installed (scripts/ensure-rabbitmq.sh gets it)")
	}
	if err != nil {
		tb.Fatalf("%s: %v", tb.Name(), err)
	}
}
