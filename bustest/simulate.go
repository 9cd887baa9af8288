package bustest

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
)

// Simulate runs f for the seeds 1 to n, each as a subtest in a bubble of virtual time: what sleeps or waits there waits no longer
// than it takes to compute. Everything that f starts has to end before it returns, a bus by its Close. See testing/synctest for
// what cannot be in a bubble: the network above all, so use a [Broker] and stores in memory.
//
// A seed that fails is run again by itself with -run, as the test's output says.
func Simulate(t *testing.T, n int, f func(t *testing.T, seed uint64)) {
	t.Helper()
	for i := range n {
		seed := uint64(i) + 1
		name := fmt.Sprintf("seed=%d", seed)
		t.Run(name, func(t *testing.T) {
			defer func() {
				if t.Failed() {
					t.Logf("bustest: the same again: go test -run '^%s$'", pathOf(t.Name()))
				}
			}()
			synctest.Test(t, func(t *testing.T) { f(t, seed) })
		})
	}
}

// pathOf is the pattern of -run for one test.
func pathOf(name string) string { return strings.ReplaceAll(name, "/", "$/^") }
