package middleware_test

import (
	"math"
	"testing"
	"time"

	"github.com/eventbus-go/eventbus/router/middleware"
)

func TestDelayIsAPartOfTheCeilingThatGrowsUpToMax(t *testing.T) {
	const ms = time.Millisecond
	b := middleware.Backoff{Min: 10 * ms, Max: 100 * ms, Factor: 3}
	for _, tt := range []struct {
		name    string
		b       middleware.Backoff
		attempt int
		random  float64
		want    time.Duration
	}{
		{"the first attempt has Min as its ceiling", b, 1, 1, 10 * ms},
		{"each further one has Factor times as much", b, 2, 1, 30 * ms},
		{"", b, 3, 1, 90 * ms},
		{"up to Max", b, 4, 1, 100 * ms},
		{"at any attempt", b, math.MaxInt, 1, 100 * ms},
		{"an attempt below 1 is the first", b, math.MinInt, 1, 10 * ms},
		{"the jitter is full: down to 0", b, 3, 0, 0},
		{"half of the way", b, 3, 0.5, 45 * ms},
		{"random is held to its range", b, 1, 7, 10 * ms},
		{"", b, 1, -7, 0},
		{"", b, 1, math.NaN(), 10 * ms},
		{"the zero value has defaults", middleware.Backoff{}, 1, 1, 100 * ms},
		{"", middleware.Backoff{}, 2, 1, 200 * ms},
		{"", middleware.Backoff{}, 100, 1, 10 * time.Second},
		{"a Factor of 1 keeps the ceiling", middleware.Backoff{Min: ms, Factor: 1}, 50, 1, ms},
		{"one below 1 is the default", middleware.Backoff{Min: ms, Factor: 0.5}, 2, 1, 2 * ms},
		{"", middleware.Backoff{Min: ms, Factor: math.NaN()}, 2, 1, 2 * ms},
		{"Max wins over Min", middleware.Backoff{Min: 2 * ms, Max: ms}, 1, 1, ms},
		{"nothing overflows", middleware.Backoff{Min: 1, Max: math.MaxInt64, Factor: math.Inf(1)}, 2, 1, math.MaxInt64},
		{"", middleware.Backoff{Min: math.MaxInt64, Max: math.MaxInt64}, 9, math.Nextafter(1, 0),
			time.Duration(math.Nextafter(1<<63, 0))},
	} {
		if got := tt.b.Delay(tt.attempt, tt.random); got != tt.want {
			t.Errorf("%s: Delay(%d, %v) of %+v is %v, want %v", tt.name, tt.attempt, tt.random, tt.b, got, tt.want)
		}
	}
}

func TestDelayStaysWithinItsBoundsForAllSettings(t *testing.T) {
	durations := []time.Duration{math.MinInt64, -1, 0, 1, time.Millisecond, time.Hour, math.MaxInt64}
	factors := []float64{math.Inf(-1), -1, 0, 0.5, 1, 1.5, 2, 1e300, math.Inf(1), math.NaN()}
	randoms := []float64{math.Inf(-1), 0, 1e-300, 0.5, math.Nextafter(1, 0), 1, math.Inf(1), math.NaN()}
	for _, lo := range durations {
		for _, hi := range durations {
			for _, f := range factors {
				b := middleware.Backoff{Min: lo, Max: hi, Factor: f}
				last := time.Duration(0)
				for _, attempt := range []int{math.MinInt, 0, 1, 2, 3, 10, 63, 64, 1000, math.MaxInt} {
					ceiling := b.Ceiling(attempt)
					if ceiling < last || hi > 0 && ceiling > hi {
						t.Fatalf("%+v: the ceiling of attempt %d is %d after %d", b, attempt, ceiling, last)
					}
					last = ceiling
					for _, r := range randoms {
						if d := b.Delay(attempt, r); d < 0 || d > ceiling {
							t.Fatalf("%+v.Delay(%d, %v) is %d, ceiling %d", b, attempt, r, d, ceiling)
						}
					}
				}
			}
		}
	}
}
