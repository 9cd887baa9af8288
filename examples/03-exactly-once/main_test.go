package main

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/internal/testbroker"
)

// TestMain is the worker where the program under test starts itself as one.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "-worker" {
		fmt.Fprintln(os.Stderr, work(context.Background(), os.Getenv(bus.EnvURL), os.Args[2]))
		os.Exit(1) // it ends by being killed
	}
	os.Exit(m.Run())
}

func TestEachPaymentIsBookedOnceWhateverIsKilled(t *testing.T) {
	for name, url := range map[string]string{"embedded": "", "redis": "redis+stream://" + testbroker.AnyRedis(t).Addr()} {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			if err := run(t.Context(), &out, url); err != nil {
				t.Fatalf("%v\n%s", err, out.String())
			}
			said := regexp.MustCompile(`(?s)^300 payments .*killed.*killed.*killed.*\n(\d+) deliveries, (\d+) of them again\n300 payments are booked, 300.00 in all\n$`).
				FindStringSubmatch(out.String())
			if said == nil {
				t.Fatalf("it says:\n%s", out.String())
			}
			t.Logf("%s deliveries were repeated", said[2])
		})
	}
}
