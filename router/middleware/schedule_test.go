package middleware_test

import (
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/eventbus-go/eventbus/router/middleware"
)

func TestAPolicyIsReadAsItIsWritten(t *testing.T) {
	const ms, s = time.Millisecond, time.Second
	type backoff = middleware.Backoff
	for text, want := range map[string]middleware.Policy{
		"never":                         {Attempts: 1},
		"5 times":                       {Attempts: 5},
		"5 times, 200ms to 10m, jitter": {Attempts: 5, Backoff: backoff{Min: 200 * ms, Max: 600 * s}},
		" 5  times,1s ,no jitter":       {Attempts: 5, Backoff: backoff{Min: s, Max: s, NoJitter: true}},
		"9 times, 1s to 1h, factor 1.5": {Attempts: 9, Backoff: backoff{Min: s, Max: 3600 * s, Factor: 1.5}},
		"2 times, in place up to 50ms, hold up to 1m30s, any order": {Attempts: 2, InPlace: 50 * ms, MaxWait: 90 * s, AnyOrder: true},
	} {
		got, err := middleware.ParsePolicy(text)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q is read as %+v, %v", text, got, err)
		}
	}
}

func TestAPolicyThatCannotBeReadSaysWhichPartAndWhatCouldBeThere(t *testing.T) {
	for text, want := range map[string]string{
		"":                        `cannot be read`,
		"200ms to 10m":            `does not say how often`,
		"five times":              `"five" is not a number of attempts`,
		"0 times":                 `"0" is not a number of attempts`,
		"-3 times":                `"-3" is not a number of attempts`,
		"5 times, 10m to 200ms":   `goes down`,
		"5 times, 200 to 10m":     `"200" is not a duration`,
		"5 times, 200ms to never": `"never" is not a duration`,
		"5 times, soon":           `"soon" cannot be read`,
		"5 times, 6 times":        `a second time`,
		"5 times, jitter, jitter": `a second time`,
		"5 times, factor 0.5":     `not a factor`,
		"5 times, factor Inf":     `Factor is +Inf`,
		"5 times,":                `cannot be read`,
		"never, jitter":           `"never" cannot be read`,
	} {
		_, err := middleware.ParsePolicy(text)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want it to say %s", text, err, want)
		}
	}
}

// What Text writes, ParsePolicy reads as a policy that does the same.
func TestTextIsTheInverseOfParsePolicy(t *testing.T) {
	pick := func(d ...time.Duration) time.Duration { return d[rand.IntN(len(d))] }
	for range 2000 {
		p := middleware.Policy{
			Attempts: rand.IntN(12),
			InPlace:  pick(0, 1, time.Millisecond, time.Hour),
			MaxWait:  pick(0, time.Second, 90*time.Minute),
			AnyOrder: rand.IntN(2) == 0,
			Backoff: middleware.Backoff{
				Min: pick(0, 1, 200*time.Millisecond, time.Hour), Max: pick(0, time.Second, 10*time.Minute, 36*time.Hour),
				Factor: []float64{0, 1, 1.5, 3}[rand.IntN(4)], NoJitter: rand.IntN(2) == 0,
			},
		}
		text := p.Text()
		got, err := middleware.ParsePolicy(text)
		if err != nil {
			t.Fatalf("%+v is written as %q: %v", p, text, err)
		}
		if again := got.Text(); again != text {
			t.Fatalf("%q is written again as %q", text, again)
		}
		for attempt := 1; attempt < 20 && p.Attempts > 1; attempt++ {
			for _, random := range []float64{0.3, 1} {
				if a, b := p.Backoff.Delay(attempt, random), got.Backoff.Delay(attempt, random); a != b {
					t.Fatalf("%+v and %q: after attempt %d the waits are %v and %v", p, text, attempt, a, b)
				}
			}
		}
	}
}
