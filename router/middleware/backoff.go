package middleware

import (
	"math"
	"time"
)

// The defaults of a Backoff's fields.
const (
	DefaultMin    = 100 * time.Millisecond
	DefaultMax    = 10 * time.Second
	DefaultFactor = 2
)

// A Backoff says how long to wait between attempts: exponential, with full jitter, as in "Exponential Backoff And
// Jitter" (AWS Architecture Blog, 2015). The ceiling grows from attempt to attempt, and the delay is anything between 0
// and the ceiling, so that handlers that failed together do not come back together.
//
// The zero value is ready for use.
type Backoff struct {
	// Min is the ceiling of the first delay; 0 or less means 100 ms.
	Min time.Duration
	// Max is the highest ceiling; 0 or less means 10 s. It wins over a Min that is higher.
	Max time.Duration
	// Factor is what the ceiling is multiplied by after each attempt; less than 1 means 2, and 1 keeps it as it is.
	Factor float64
	// NoJitter makes every delay the ceiling itself: for schedules that somebody has to foresee.
	NoJitter bool
}

// Ceiling returns the longest delay there can be after the given attempt, the first being 1; a lower one counts as 1.
func (b Backoff) Ceiling(attempt int) time.Duration {
	b = b.orDefaults()
	c := float64(b.Min) * math.Pow(b.Factor, float64(max(attempt, 1)-1))
	if c < float64(b.Max) { // not for +Inf, which a high attempt leads to
		return time.Duration(c)
	}
	return b.Max
}

// Delay returns how long to wait after the given attempt: the part of its ceiling that random says, from 0 to 1. It is a
// pure function, and never negative; a random outside of 0 to 1 counts as the nearer end, and NaN as 1.
func (b Backoff) Delay(attempt int, random float64) time.Duration {
	c := b.Ceiling(attempt)
	switch {
	case b.NoJitter:
		return c
	case random <= 0:
		return 0
	case random < 1:
		return min(time.Duration(random*float64(c)), c)
	default:
		return c
	}
}

func (b Backoff) orDefaults() Backoff {
	if b.Min <= 0 {
		b.Min = DefaultMin
	}
	if b.Max <= 0 {
		b.Max = DefaultMax
	}
	if !(b.Factor >= 1) { // also for NaN
		b.Factor = DefaultFactor
	}
	return b
}
