package bus

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"golang.org/x/time/rate"
)

// A RateLimit bounds how many events a subscription's handler is given in a time. The zero value is no limit. [ParseRateLimit] reads
// one that is written as "100/s, burst 20".
//
// An event waits before it is handed out: it keeps no worker, its Timeout does not run, and no attempt is counted. While it waits the
// subscription holds it, and stops fetching once it holds as many as its Prefetch. An attempt in place after a short wait is not
// handed out again, and not counted. A shutdown does not wait: it gives back what the broker keeps for the group, and the rest is
// handled without the limit.
//
// The limit is this subscription's in this process: three processes of a group handle three times as many.
type RateLimit struct {
	// Events is how many there may be in the time Per, on average; 0 means no limit.
	Events int
	// Per is that time. Default 1 s.
	Per time.Duration
	// Burst is how many may be handed out at once after a time without any. The default is what the rate lets pass within a tenth
	// of a second, and 1 at least.
	Burst int
}

// NoRate is the limit of a subscription in a configuration that turns off the one of the code.
var NoRate = RateLimit{Events: -1}

const offText = "off"

// rateUnits are the words for Per.
var rateUnits = map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour}

// Text returns r as [ParseRateLimit] reads it.
func (r RateLimit) Text() string {
	if r.Events <= 0 {
		return offText
	}
	r = r.orDefaults()
	per := r.Per.String()
	for unit, d := range rateUnits {
		if d == r.Per {
			per = unit
		}
	}
	return fmt.Sprintf("%d/%s, burst %d", r.Events, per, r.Burst)
}

// ParseRateLimit reads a limit: "off", or a number of events and a time, with a slash between them, such as 100/s, 30/m or 5/10s, and
// perhaps, after a comma, how many may be handed out at once. Its error shows the part that cannot be read. [RateLimit.Text] is its
// inverse.
func ParseRateLimit(s string) (RateLimit, error) {
	if strings.TrimSpace(s) == offText {
		return NoRate, nil
	}
	var r RateLimit
	head, tail, hasBurst := strings.Cut(s, ",")
	n, per, ok := strings.Cut(strings.TrimSpace(head), "/")
	events, err := strconv.Atoi(n)
	r.Events, r.Per = events, rateUnits[per]
	if r.Per == 0 {
		r.Per, _ = time.ParseDuration(per)
	}
	if !ok || err != nil || events < 1 || r.Per <= 0 {
		return RateLimit{}, fmt.Errorf(`rate: %q cannot be read: write it as in "100/s, burst 20", or off`, strings.TrimSpace(head))
	}
	if hasBurst {
		burst, isBurst := strings.CutPrefix(strings.Join(strings.Fields(tail), " "), "burst ")
		if r.Burst, err = strconv.Atoi(burst); !isBurst || err != nil || r.Burst < 1 {
			return RateLimit{}, fmt.Errorf(`rate: %q cannot be read: write it as in "100/s, burst 20"`, strings.TrimSpace(tail))
		}
	}
	return r, r.check()
}

func (r RateLimit) check() error {
	switch {
	case r.Events < NoRate.Events || r.Burst < 0 || r.Per < 0:
		return fmt.Errorf("the Rate is %+v: none of it can be negative", r)
	case r.Events == 0 && r != RateLimit{}:
		return fmt.Errorf("the Rate is %+v: it does not say how many Events", r)
	}
	return nil
}

func (r RateLimit) orDefaults() RateLimit {
	if r.Per == 0 {
		r.Per = time.Second
	}
	if r.Burst == 0 {
		r.Burst = max(1, int(math.Ceil(r.perSecond()/10)))
	}
	return r
}

func (r RateLimit) perSecond() float64 { return float64(r.Events) / r.Per.Seconds() }

// limiter returns what counts; nil for no limit.
func (r RateLimit) limiter() *rate.Limiter {
	if r.Events <= 0 {
		return nil
	}
	r = r.orDefaults()
	return rate.NewLimiter(rate.Limit(r.perSecond()), r.Burst)
}

// untilNext is how long it is until an event may pass; 0 where one may.
func untilNext(l *rate.Limiter, now time.Time) time.Duration {
	missing := 1 - l.TokensAt(now)
	if missing <= 0 {
		return 0
	}
	return time.Duration(missing/float64(l.Limit())*float64(time.Second)) + 1
}
