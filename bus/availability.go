package bus

import (
	"context"
	"sync"
	"time"
)

// How a broker that is unavailable is tried again.
const (
	probeMin     = time.Second      // between two pings
	probeMax     = time.Minute      // where it answers pings, and then fails to take messages again and again
	probeTimeout = time.Second      // of a ping
	probeBlind   = 10 * time.Second // until messages are tried again, where the driver cannot ping
)

// An availability judges whether a broker is to be sent to, or the fallback that rules name for it.
//
// A broker is unavailable once every send to it has failed for a time: none of its messages was taken or refused, which are
// answers, from the first send that failed on. While it is unavailable it is pinged. When it answers it is on trial: the next
// batch begins with a single message to it, and the first failure makes it unavailable at once.
type availability struct {
	after time.Duration
	ping  func(context.Context) error // nil where the driver cannot
	told  func(change)

	ctx    context.Context // of probes; ends by close
	cancel context.CancelFunc
	probes sync.WaitGroup

	mu      sync.Mutex
	failing time.Time // since when every send has failed; zero after an answer
	down    bool
	trial   bool
	retry   time.Duration // until the first ping
	counts  fallbackCounts
}

// fallbackCounts are what BrokerStats says of fallbacks.
type fallbackCounts struct{ switches, returns, maybeTwice int64 }

// A change is what an availability reports: a broker became unavailable, or is sent to again.
type change struct {
	down  bool
	since time.Time // of the failure
	err   error     // the last one
}

func newAvailability(ctx context.Context, after time.Duration, l *link, told func(change)) *availability {
	a := &availability{after: after, told: told, retry: probeMin}
	if l.pinger != nil {
		a.ping = l.ping
	}
	a.ctx, a.cancel = context.WithCancel(context.WithoutCancel(ctx))
	return a
}

// state says whether the broker is to be sent to, and whether it is on trial.
func (a *availability) state() (up, trial bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return !a.down, a.trial
}

// answered notes that the broker took or refused a message.
func (a *availability) answered() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.down || a.trial {
		a.counts.returns++
		a.told(change{since: a.failing})
	}
	a.failing, a.trial, a.down, a.retry = time.Time{}, false, false, probeMin
}

// failed notes a send, begun at the given time, that the broker took and refused no message of.
func (a *availability) failed(began time.Time, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.failing.IsZero() {
		a.failing = began
	}
	if a.down || !a.trial && time.Since(a.failing) < a.after {
		return
	}
	if a.trial {
		a.retry = min(2*a.retry, probeMax)
	} else {
		a.counts.switches++
		a.told(change{down: true, since: a.failing, err: err})
	}
	a.down, a.trial = true, false
	wait := a.retry
	if a.ping == nil {
		wait = max(wait, probeBlind)
	}
	a.probes.Go(func() { a.probe(wait) })
}

// probe waits until the broker answers, and puts it on trial.
func (a *availability) probe(wait time.Duration) {
	t := time.NewTimer(wait)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-a.ctx.Done():
			return
		}
		if a.answers() {
			a.mu.Lock()
			defer a.mu.Unlock()
			if a.down {
				a.down, a.trial = false, true
			}
			return
		}
		t.Reset(probeMin)
	}
}

func (a *availability) answers() bool {
	if a.ping == nil {
		return true
	}
	ctx, cancel := context.WithTimeout(a.ctx, probeTimeout)
	defer cancel()
	return a.ping(ctx) == nil
}

// sentTwice counts messages that are sent over one broker although the other one may have them.
func (a *availability) sentTwice(n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.counts.maybeTwice += int64(n)
}

func (a *availability) stats() (counts fallbackCounts, unavailable bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.counts, a.down || a.trial
}

// close ends the probes. No send is under way any more.
func (a *availability) close() {
	a.cancel()
	a.probes.Wait()
}
