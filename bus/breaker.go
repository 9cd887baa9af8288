package bus

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/eventbus-go/eventbus/router"
)

// The defaults of a BreakerPolicy's fields.
const (
	DefaultBreakerWithin = 10 * time.Second
	DefaultBreakerPause  = 30 * time.Second
)

// A BreakerPolicy pauses a subscription whose handler fails again and again, for what it needs is down: to go on would only use up
// the attempts of every event. The zero value is no breaker. [ParseBreakerPolicy] reads one that is written as
// "5 failures in 10s, pause 30s".
//
// While it is open, no event is handed out, and the subscription stops fetching once it holds as many as its Prefetch. After the pause
// it is half open: one event after the other is tried, until one is handled, which closes it, or fails, which opens it again. An event
// that fails while it is open or half open, or by whose failure it opens, keeps its attempts and is tried again, after the others
// that are ready. Where it opens by the failure of one event again, though another one has closed it in between, that event fails by
// itself, and has used up an attempt. So an event that always fails cannot keep it open while others succeed, nor open it for ever.
// As long as it is the only one that can be tried, it looks like an outage and is not given up before GiveUp: a handler that knows
// better returns [Permanent], and Only leaves out the errors that are no outage.
//
// A shutdown does not wait for it.
type BreakerPolicy struct {
	// Failures is how many attempts have to fail within the time Within for the breaker to open; 0 means no breaker.
	Failures int
	// Within is that time. Default DefaultBreakerWithin.
	Within time.Duration
	// Pause is how long it is open. Default DefaultBreakerPause.
	Pause time.Duration
	// GiveUp is for how long an event may fail while it is open or half open, from the first such failure on. The next one after that
	// time is given up, with [ErrGivenUp], and is kept as a dead letter. In an outage that is longer that is at most one event in each
	// pause. Without it, and by default, an event waits for as long as it takes. A restart begins anew.
	GiveUp time.Duration
	// Only are the errors that count, by the names that [WithError] gave them, "timeout" and "panic" besides; empty means all. What
	// is Permanent or Drop never counts: the handler has found out about the event what it has to know.
	Only []string
}

// NoBreaker is the policy of a subscription in a configuration that turns off the one of the code.
var NoBreaker = BreakerPolicy{Failures: -1}

// ErrGivenUp is found by errors.Is in the error of an event that has failed for [BreakerPolicy].GiveUp under an open breaker.
var ErrGivenUp = errors.New("given up under an open breaker")

// maxFailures bounds the failures that are remembered.
const maxFailures = 10_000

// Text returns p as [ParseBreakerPolicy] reads it.
func (p BreakerPolicy) Text() string {
	if p.Failures <= 0 {
		return offText
	}
	p = p.orDefaults()
	text := fmt.Sprintf("%d failures in %v, pause %v", p.Failures, p.Within, p.Pause)
	if p.GiveUp > 0 {
		text += fmt.Sprintf(", give up %v", p.GiveUp)
	}
	if len(p.Only) > 0 {
		text += ", only " + strings.Join(p.Only, " or ")
	}
	return text
}

// ParseBreakerPolicy reads a policy: "off", or parts separated by commas, of which only the first is required.
//
//	5 failures in 10s         how many attempts have to fail within which time
//	pause 30s                 how long no event is handed out
//	give up 24h               for how long an event may fail meanwhile; for ever where it is left out
//	only timeout or declined  which errors count, by their names
//
// Its error shows the part that cannot be read. [BreakerPolicy.Text] is its inverse.
func ParseBreakerPolicy(s string) (p BreakerPolicy, err error) {
	if strings.TrimSpace(s) == offText {
		return NoBreaker, nil
	}
	for part := range strings.SplitSeq(s, ",") {
		part = strings.Join(strings.Fields(part), " ")
		if !p.parse(part) {
			return BreakerPolicy{}, fmt.Errorf(`breaker: %q cannot be read: write it as in "5 failures in 10s, pause 30s, only timeout", or off`, part)
		}
	}
	if p.Failures == 0 {
		return BreakerPolicy{}, fmt.Errorf(`breaker: %q does not say how many failures: begin as in "5 failures in 10s"`, s)
	}
	return p, p.check()
}

// parse takes one part in, once.
func (p *BreakerPolicy) parse(part string) bool {
	var err error
	if pause, ok := strings.CutPrefix(part, "pause "); ok && p.Pause == 0 {
		p.Pause, err = time.ParseDuration(pause)
		return err == nil && p.Pause > 0
	}
	if after, ok := strings.CutPrefix(part, "give up "); ok && p.GiveUp == 0 {
		p.GiveUp, err = time.ParseDuration(after)
		return err == nil && p.GiveUp > 0
	}
	if only, ok := strings.CutPrefix(part, "only "); ok && p.Only == nil {
		p.Only = strings.Split(only, " or ")
		return !slices.Contains(p.Only, "")
	}
	n, within, ok := strings.Cut(part, " failures in ")
	if !ok || p.Failures != 0 {
		return false
	}
	if p.Failures, err = strconv.Atoi(n); err != nil || p.Failures < 1 {
		return false
	}
	p.Within, err = time.ParseDuration(within)
	return err == nil && p.Within > 0
}

func (p BreakerPolicy) check() error {
	switch {
	case p.Failures < NoBreaker.Failures || p.Failures > maxFailures:
		return fmt.Errorf("Breaker.Failures is %d: it goes from 1 to %d", p.Failures, maxFailures)
	case p.Within < 0 || p.Pause < 0 || p.GiveUp < 0:
		return errors.New("Breaker.Within, Breaker.Pause and Breaker.GiveUp cannot be negative (0 means the default)")
	case p.GiveUp > 0 && p.GiveUp < p.orDefaults().Pause:
		return fmt.Errorf("Breaker.GiveUp is %v, and Breaker.Pause %v: make it longer than any outage that is to be waited for",
			p.GiveUp, p.orDefaults().Pause)
	case p.Failures == 0 && (p.Within > 0 || p.Pause > 0 || p.GiveUp > 0 || len(p.Only) > 0):
		return errors.New("the Breaker does not say how many Failures")
	}
	return nil
}

func (p BreakerPolicy) orDefaults() BreakerPolicy {
	p.Within = cmp.Or(p.Within, DefaultBreakerWithin)
	p.Pause = cmp.Or(p.Pause, DefaultBreakerPause)
	return p
}

// BreakerState is whether a subscription's breaker lets events pass.
type BreakerState uint8

// A closed breaker lets events pass, which is also the state of none; an open one lets none pass; a half-open one lets one pass, to see.
const (
	BreakerClosed BreakerState = iota
	BreakerHalfOpen
	BreakerOpen
)

// String returns closed, half_open or open.
func (s BreakerState) String() string {
	switch s {
	case BreakerHalfOpen:
		return "half_open"
	case BreakerOpen:
		return "open"
	default:
		return "closed"
	}
}

// A breaker is the state of a BreakerPolicy. It decides, and does nothing itself. It is guarded by the scheduler's lock.
type breaker struct {
	BreakerPolicy
	matches []func(error) bool // of Only

	state  BreakerState
	recent []time.Time // the last failures, a ring
	next   int
	opened int64
	closed uint32 // how often it was closed
}

// newBreaker returns nil for no breaker. It refuses a name in Only that no error has.
func newBreaker(p BreakerPolicy, named []namedError) (*breaker, error) {
	if p.Failures <= 0 {
		return nil, nil
	}
	b := &breaker{BreakerPolicy: p.orDefaults(), recent: make([]time.Time, p.Failures)}
	known := append(slices.Clone(named), builtinErrors...)
	for _, name := range p.Only {
		i := slices.IndexFunc(known, func(n namedError) bool { return n.name == name })
		if i < 0 {
			return nil, fmt.Errorf("Breaker.Only names %q, which is no error of this program: name it by bus.WithError", name)
		}
		b.matches = append(b.matches, known[i].match)
	}
	return b, nil
}

// counts reports whether a failure is one that the breaker is there for. It is called without the lock. A match that panics matches
// nothing.
func (b *breaker) counts(err error) (counts bool) {
	defer func() {
		if recover() != nil {
			counts = false
		}
	}()
	if errors.As(err, new(*router.PermanentError)) || errors.As(err, new(*router.DropError)) {
		return false
	}
	return len(b.matches) == 0 || slices.ContainsFunc(b.matches, func(match func(error) bool) bool { return match(err) })
}

// fail takes a failure in that counts, and reports whether the breaker opens by it.
func (b *breaker) fail(now time.Time, probe bool) (opens bool) {
	if b.state == BreakerClosed {
		b.recent[b.next] = now
		b.next = (b.next + 1) % len(b.recent)
		oldest := b.recent[b.next] // of the last so many
		opens = !oldest.IsZero() && now.Sub(oldest) <= b.Within
	} else {
		opens = b.state == BreakerHalfOpen && probe
	}
	if opens {
		b.state = BreakerOpen
		b.opened++
	}
	return opens
}

// owns notes that it opens by a failure of an item, and reports whether the failure is the item's own: it has opened it before, and
// another one has closed it since.
func (b *breaker) owns(it *item, from BreakerState) (own bool) {
	if it == nil { // of a worker that is gone: its item is given up anyway
		return false
	}
	own = from == BreakerClosed && it.opened != 0 && it.opened != b.closed+1
	it.opened = b.closed + 1
	return own
}

// A trial is what an event has failed at while the breaker was not closed, or by opening it, since it last used up an attempt.
type trial struct {
	first  time.Time // failure
	failed int
}

// A ruling says what becomes of an event whose attempt has failed.
type ruling uint8

const (
	rulingAttempt ruling = iota // it has used up an attempt
	rulingPutOff                // it has not
	rulingGiveUp                // it has not for too long
)

// rule decides about a failure that was taken in. own says that it is the item's own, although the breaker opened by it.
func (b *breaker) rule(it *item, own bool, now time.Time) ruling {
	switch {
	case it == nil: // of a worker that is gone: its item is given up anyway
		return rulingPutOff
	case own || b.state == BreakerClosed:
		it.trial = nil
		return rulingAttempt
	case it.trial == nil:
		it.trial = &trial{first: now}
	}
	it.trial.failed++
	if b.GiveUp > 0 && now.Sub(it.trial.first) >= b.GiveUp {
		return rulingGiveUp
	}
	return rulingPutOff
}

// givenUp is the error of an event that was given up.
func (it *item) givenUp(now time.Time, err error) error {
	return router.Permanent(fmt.Errorf("%w: it has failed %d times in %v: %w",
		ErrGivenUp, it.trial.failed, now.Sub(it.trial.first).Round(time.Second), err))
}

// close forgets the failures.
func (b *breaker) close() {
	b.state = BreakerClosed
	b.closed++
	clear(b.recent)
}
