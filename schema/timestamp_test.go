package schema

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

func TestTimesAreReadByRFC3339(t *testing.T) {
	for in, want := range map[string]string{ // "" for refused; else the same moment as we write it
		"2025-11-03T14:15:00Z":                 "2025-11-03T14:15:00Z",
		"2025-11-03T14:15:00.5Z":               "2025-11-03T14:15:00.5Z",
		"2025-11-03T14:15:00.123456789Z":       "2025-11-03T14:15:00.123456789Z",
		"2025-11-03T14:15:00.000000001Z":       "2025-11-03T14:15:00.000000001Z",
		"2025-11-03T14:15:00.500Z":             "2025-11-03T14:15:00.5Z",
		"2025-11-03T14:15:00.000000Z":          "2025-11-03T14:15:00Z",
		"2025-11-03T14:15:00.1234567891234Z":   "2025-11-03T14:15:00.123456789Z",
		"2025-11-03T15:15:00+01:00":            "2025-11-03T14:15:00Z",
		"2025-11-03T00:15:00-14:00":            "2025-11-03T14:15:00Z",
		"2025-11-03T14:15:00+00:00":            "2025-11-03T14:15:00Z",
		"2025-11-03T14:15:00-00:00":            "2025-11-03T14:15:00Z",
		"2025-11-03t14:15:00z":                 "2025-11-03T14:15:00Z",
		"2024-02-29T00:00:00Z":                 "2024-02-29T00:00:00Z",
		"2000-02-29T23:59:59Z":                 "2000-02-29T23:59:59Z",
		"0000-01-01T00:00:00Z":                 "0000-01-01T00:00:00Z",
		"0001-01-01T00:00:00Z":                 "0001-01-01T00:00:00Z",
		"9999-12-31T23:59:59.999999999Z":       "9999-12-31T23:59:59.999999999Z",
		"2025-02-29T00:00:00Z":                 "",
		"1900-02-29T00:00:00Z":                 "",
		"2025-04-31T00:00:00Z":                 "",
		"2025-13-01T00:00:00Z":                 "",
		"2025-00-01T00:00:00Z":                 "",
		"2025-01-00T00:00:00Z":                 "",
		"2025-11-03T24:00:00Z":                 "",
		"2025-11-03T14:60:00Z":                 "",
		"2016-12-31T23:59:60Z":                 "",
		"2025-11-03 14:15:00Z":                 "",
		"2025-11-03T14:15:00":                  "",
		"2025-11-03T14:15:00.Z":                "",
		"2025-11-03T14:15:00,5Z":               "",
		"2025-11-03T14:15:00.5":                "",
		"2025-11-03T14:15:00+0100":             "",
		"2025-11-03T14:15:00+24:00":            "",
		"2025-11-03T14:15:00+01:60":            "",
		"2025-11-03T14:15:00ZZ":                "",
		"2025-11-03T14:15Z":                    "",
		"2025-1-03T14:15:00Z":                  "",
		"20251103T141500Z":                     "",
		"+2025-11-03T14:15:00Z":                "",
		"2025-11-03T14:15:0/Z":                 "",
		"2025-11-03T14:15:0:Z":                 "",
		"":                                     "",
		strings.Repeat("2", 30):                "",
		"2025-11-03T14:15:00.5" + "+01:00:00.": "",
	} {
		got, canonical, ok := parseTime([]byte(in))
		if ok != (want != "") {
			t.Errorf("%q: ok %v", in, ok)
		}
		if !ok {
			continue
		}
		if text, _ := appendTime(nil, got); string(text) != want {
			t.Errorf("%q: %s, want %s", in, text, want)
		}
		if canonical != (in == want && !got.IsZero()) {
			t.Errorf("%q: canonical %v", in, canonical)
		}
		if got.Location() != time.UTC {
			t.Errorf("%q: in %v", in, got.Location())
		}
	}
}

func TestTimesAreReadAndWrittenAsPackageTimeDoes(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		at := time.Unix(random.Int64N(253402300800+62167219200)-62167219200, random.Int64N(1e9)).UTC()
		if random.IntN(2) == 0 {
			at = at.Truncate(time.Millisecond)
		}
		want := at.Format(time.RFC3339Nano)
		if text, ok := appendTime(nil, at); !ok || string(text) != want {
			t.Fatalf("%v: written as %s", at, text)
		}
		if got, canonical, ok := parseTime([]byte(want)); !ok || !canonical || !got.Equal(at) {
			t.Fatalf("%v: read as %v, canonical %v", at, got, canonical)
		}
		zone := time.FixedZone("", 60*(random.IntN(2*23*60)-23*60))
		local := at.In(zone).Format(time.RFC3339Nano)
		if y := at.In(zone).Year(); y >= 0 && y <= 9999 {
			if got, _, ok := parseTime([]byte(local)); !ok || !got.Equal(at) {
				t.Fatalf("%s: read as %v", local, got)
			}
		}
	}
}

func TestTimestampsFromElsewhereAreKeptUnlessTheTimeIsChanged(t *testing.T) {
	for _, text := range []string{
		"2025-11-03T15:15:00+01:00", "2025-11-03T14:15:00.500Z", "2025-11-03t14:15:00z", "2025-11-03T14:15:00.1234567891Z",
		"9999-12-31T23:59:59-01:00", "0001-01-01T00:00:00Z",
	} {
		e := mustDecode(t, with(t, "2025-11-03T14:15:00Z", text))
		if got := mustEncode(t, e); !strings.Contains(got, `"timestamp":"`+text+`"`) {
			t.Errorf("%s: %s", text, got)
		}
		e.Time = time.Date(2030, 1, 2, 3, 4, 5, 0, time.FixedZone("", 3600))
		if got := mustEncode(t, e); !strings.Contains(got, `"timestamp":"2030-01-02T02:04:05Z"`) {
			t.Errorf("%s: after a change: %s", text, got)
		}
	}
}

func TestEveryDayOfTheCalendarIsCounted(t *testing.T) {
	want := -719_528 // year 0 to 1970
	for at := time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC); at.Year() < 10_000; at = at.AddDate(0, 0, 1) {
		if got := daysSince1970(at.Year(), int(at.Month()), at.Day()); got != want {
			t.Fatalf("%v is day %d, want %d", at, got, want)
		}
		want++
	}
	if want != 2_932_897 {
		t.Errorf("the calendar ends on day %d", want)
	}
}
