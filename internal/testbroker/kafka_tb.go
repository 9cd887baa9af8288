package testbroker

import (
	"errors"
	"os"
	"testing"
)

// StartKafka starts a Kafka for one test and stops it when the test has ended. Where none can be had it skips the test, or
// fails it: see the package comment.
func StartKafka(tb testing.TB, opts KafkaOptions) *Kafka {
	tb.Helper()
	if opts.Name == "" {
		opts.Name = tb.Name()
	}
	k, err := StartKafkaServer(tb.Context(), opts)
	if errors.Is(err, ErrNoServer) && os.Getenv(EnvRequireReal) != "1" {
		tb.Skip("needs Apache Kafka and Java, which are not installed (scripts/ensure-kafka.sh gets the former)")
	}
	if err != nil {
		tb.Fatalf("%s: %v", tb.Name(), err)
	}
	tb.Cleanup(func() {
		if err := k.Stop(); err != nil {
			tb.Errorf("testbroker: stop: %v", err)
		}
	})
	return k
}
