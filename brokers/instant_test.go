package brokers_test

import (
	"math"
	"testing"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
)

func TestATimeThatIsTooFarAwayForNanosecondsDoesNotWrapAround(t *testing.T) {
	year := func(n int) time.Time { return time.Date(n, 1, 1, 0, 0, 0, 1, time.UTC) }
	for _, tt := range []struct {
		at   time.Time
		want int64
	}{
		{time.Unix(0, 0), 0},
		{year(2026), year(2026).UnixNano()},
		{year(1960), year(1960).UnixNano()},
		{year(2263), math.MaxInt64},
		{year(2300), math.MaxInt64},
		{year(9999), math.MaxInt64},
		{time.Unix(0, math.MaxInt64), math.MaxInt64},
		{time.Unix(0, math.MaxInt64).Add(1), math.MaxInt64},
		{time.Unix(0, math.MinInt64), math.MinInt64},
		{time.Unix(0, math.MinInt64).Add(-1), math.MinInt64},
		{year(1600), math.MinInt64},
		{time.Time{}, math.MinInt64},
	} {
		if got := brokers.UnixNano(tt.at); got != tt.want {
			t.Errorf("%v: %d, want %d", tt.at, got, tt.want)
		}
	}
}
