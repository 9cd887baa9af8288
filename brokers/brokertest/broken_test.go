package brokertest

import (
	"sync"
	"testing"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
)

// A breach is a broker that breaks one promise, and the case that has to catch it.
type breach struct {
	name   string
	on     kind
	caught string
	// broken is called once for each run, and what it returns for each connection.
	broken breaker
}

// A breaker makes connections break a promise.
type breaker = func(e *env) func(w *wrapped)

// An env is what a breach may change besides connections.
type env struct {
	t *testing.T
	h *Harness
	// betweenSteps is called on the case's goroutine between its steps.
	betweenSteps func()
	// over is closed when the case has ended.
	over chan struct{}
}

// stuck waits until the case has ended. What stays stuck has no time limit that a busy machine could outlast.
func (e *env) stuck() { <-e.over }

// each is for breaches without state of their own.
func each(f func(w *wrapped)) breaker {
	return func(*env) func(*wrapped) { return f }
}

var breaches = concat(publishBreaches, subscribeBreaches, groupBreaches, faultBreaches, closeBreaches, worldBreaches)

func concat(lists ...[]breach) (out []breach) {
	for _, l := range lists {
		out = append(out, l...)
	}
	return out
}

func TestTheSuiteCatchesABrokerThat(t *testing.T) {
	found := make([]string, len(breaches))
	var wg sync.WaitGroup
	running := make(chan struct{}, 12) // most of them wait, so more than the processors
	for i, b := range breaches {
		if b.caught == caseLeak { // which counts the goroutines of others
			found[i] = b.run(t)
		}
	}
	for i, b := range breaches {
		if b.caught != caseLeak {
			running <- struct{}{}
			wg.Go(func() {
				defer func() { <-running }()
				found[i] = b.run(t)
			})
		}
	}
	wg.Wait()
	for i, b := range breaches {
		t.Run(b.name, func(t *testing.T) {
			if found[i] == "" {
				t.Fatalf("nothing was found by the case %q", b.caught)
			}
			t.Log(found[i])
		})
	}
}

// run turns the case that has to catch b on it, and returns what was found.
func (b breach) run(t *testing.T) string {
	e := &env{t: t, over: make(chan struct{})}
	defer close(e.over)
	var broken func(*wrapped)
	h := b.on.harness(t, func(c brokers.Conn) brokers.Conn {
		w := &wrapped{Conn: c}
		broken(w)
		return w.conn()
	})
	// Most breaches are seen by something that never comes. Those that are seen by something that comes end the watch.
	h.Patience, h.watch, h.delay = 400*time.Millisecond, 10*time.Second, 10*time.Second
	e.h = &h
	broken = b.broken(e)
	return judge(t, h, named(t, b.caught), func() {
		if e.betweenSteps != nil {
			e.betweenSteps()
		}
	})
}

func TestEveryCaseCatchesABrokenBroker(t *testing.T) {
	catches := make(map[string]bool)
	for _, b := range breaches {
		catches[b.caught] = true
	}
	for _, c := range Cases() {
		if !catches[c.Name] {
			t.Errorf("no broken broker shows that this case can fail: %s", c.Name)
		}
	}
}
