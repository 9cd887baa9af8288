package brokertest

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
)

// T is what a case needs of a test. *testing.T has it; the suite's own tests give it one that records.
type T interface {
	Helper()
	Context() context.Context
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
	// Fatalf ends the case's goroutine.
	Fatalf(format string, args ...any)
	Failed() bool
}

// Run holds the broker of h to the contract and to each promise that its connections make.
func Run(t *testing.T, h Harness) {
	t.Helper()
	h = h.withDefaults()
	caps := capabilitiesOf(t, h)
	t.Logf("promises: %+v", caps)
	for _, field := range unheld(caps, Cases()) {
		t.Errorf("brokertest has no case for the promise %s: nobody holds the driver to it", field)
	}
	log := openCaseLog(t, h, caps)
	defer log.close()
	var waiting sync.WaitGroup
	defer waiting.Wait()
	for _, c := range Cases() {
		if n, missing := c.unmet(caps, h); missing {
			t.Log(notChecked(n, c))
			continue
		}
		if h.Short != nil && !inFull() && !h.Short(c) {
			t.Log("not in the short form: " + c.Name)
			continue
		}
		run := func() { log.ran(c, t.Run(c.Name, func(t *testing.T) { runCase(t, h, c) })) }
		if !c.waits {
			waiting.Wait()
			run()
			continue
		}
		waiting.Go(run)
	}
}

func notChecked(n need, c Case) string {
	if n.field != "" {
		return "not promised: " + n.text + ": " + c.Name
	}
	return "not tested: " + n.text + ": " + c.Name
}

func capabilitiesOf(t T, h Harness) brokers.Capabilities {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), h.Patience)
	defer cancel()
	conn, err := h.Open(ctx)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	caps := conn.Capabilities()
	if err := conn.Close(ctx); err != nil {
		t.Errorf("Close of an unused connection: %v", err)
	}
	return caps
}

// runCase runs one case and cleans up after it, also where it ended early.
func runCase(t T, h Harness, c Case) {
	w := newWorld(t, h)
	defer func() {
		w.cleanUp()
		if t.Failed() {
			t.Logf("the rule: %s", c.Explanation)
		}
	}()
	w.caps = w.open().Capabilities()
	c.run(w)
}

// brief is the context of a call that is meant to be given up on, and how long the suite watches unless it is told.
const brief = 60 * time.Millisecond
