package testbroker

import (
	"errors"
	"os"
	"testing"
)

// StartRedis starts a redis-server for one test and stops it when the test has ended. Where none is installed it skips
// the test, or fails it: see the package comment.
func StartRedis(tb testing.TB, opts RedisOptions) *Redis {
	tb.Helper()
	if opts.Name == "" {
		opts.Name = tb.Name()
	}
	r, err := Start(tb.Context(), opts)
	if errors.Is(err, ErrNoServer) && os.Getenv(EnvRequireReal) != "1" {
		tb.Skip("needs redis-server, which is not installed")
	}
	if errors.Is(err, ErrNoFakeTime) && os.Getenv(EnvRequireReal) != "1" {
		tb.Skip("needs libfaketime, which is not installed: the package faketime, or libfaketime")
	}
	if err != nil {
		tb.Fatalf("%s: %v", tb.Name(), err)
	}
	tb.Cleanup(func() {
		if err := r.Stop(); err != nil {
			tb.Errorf("testbroker: stop: %v", err)
		}
	})
	return r
}

// RealRedis is StartRedis without options.
func RealRedis(tb testing.TB) *Redis {
	tb.Helper()
	return StartRedis(tb, RedisOptions{})
}

// AnyRedis starts a redis-server for one test, or a miniredis in this process where none is installed and none is
// required.
func AnyRedis(tb testing.TB) *Redis {
	tb.Helper()
	return StartRedis(tb, RedisOptions{InProcess: !Installed() && os.Getenv(EnvRequireReal) != "1"})
}
