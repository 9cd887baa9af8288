package brokers

import (
	"math"
	"time"
)

// The first and the last instant that an int64 of nanoseconds since 1970 can say, in the years 1677 and 2262.
var firstInstant, lastInstant = time.Unix(0, math.MinInt64), time.Unix(0, math.MaxInt64)

// UnixNano returns t as nanoseconds since 1970, for a driver whose wire format has times as such numbers. What lies before or after
// all that an int64 can say becomes the first or the last instant that it can, where [time.Time.UnixNano] wraps around: a
// [Message.NotBefore] in the year 2300 would be one in 1715, and the message delivered at once.
func UnixNano(t time.Time) int64 {
	switch {
	case t.Before(firstInstant):
		return math.MinInt64
	case t.After(lastInstant):
		return math.MaxInt64
	}
	return t.UnixNano()
}
