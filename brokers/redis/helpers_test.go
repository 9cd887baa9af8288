package redis_test

import (
	"context"
	"testing"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
	_ "github.com/eventbus-go/eventbus/brokers/redis"
)

// open opens a connection and closes it when the test has ended.
func open(tb testing.TB, url string) brokers.Conn {
	tb.Helper()
	c, err := brokers.Open(tb.Context(), url)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := c.Close(ctx); err != nil {
			tb.Errorf("Close: %v", err)
		}
	})
	return c
}
