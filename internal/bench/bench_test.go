package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/eventbus-go/eventbus/internal/testbroker"
)

// tinyPlan measures next to nothing: it shows that every side runs and that nothing is lost on the way.
var tinyPlan = plan{rounds: 1, run: 20 * time.Millisecond, emit: 500, latency: 100, codec: time.Millisecond, more: true}

func TestEveryRowRunsAndTheJSONHasExactlyItsKeys(t *testing.T) {
	redis := testbroker.AnyRedis(t)
	var out bytes.Buffer
	if err := measure(t.Context(), options{json: true}, tinyPlan, redis, &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	var got map[string]float64
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatalf("%v in %s", err, &out)
	}
	want := []string{
		"emit_mean_ns", "emit_p50_ns", "emit_allocs", "redis_pub_3ch_vs_raw", "redis_pub_3ch_vs_loop",
		"redis_pub_1ch_vs_raw", "redis_sub_vs_watermill", "memory_ns", "memory_allocs", "memory_vs_gochannel",
		"latency_p99_vs_sync", "publish64_vs_sync", "encode_vs_json", "decode_vs_json",
	}
	for _, key := range want {
		if v, ok := got[key]; !ok || v <= 0 {
			t.Errorf("%s is %v", key, v)
		}
		delete(got, key)
	}
	if len(got) > 0 {
		t.Errorf("there are further keys: %v", got)
	}
}

func TestAFrozenServerIsMeasuredAndThawed(t *testing.T) {
	redis := testbroker.RealRedis(t)
	p := tinyPlan
	p.frozen = 100 * time.Millisecond
	rows, err := frozenRows(t.Context(), &lab{plan: p, redis: redis, progress: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != 1 || !(rows[0].got.max > 0) {
		t.Errorf("rows are %+v", rows)
	}
	if _, err := redis.Do(t.Context(), "PING"); err != nil {
		t.Errorf("the server is still frozen: %v", err)
	}
}

func TestAnEventThatIsNotHandledIsAnError(t *testing.T) {
	redis := testbroker.AnyRedis(t)
	c, err := dialRaw(redis.Addr())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.out.Write(frame([]byte("{}"), oneChannel)); err != nil {
		t.Fatal(err)
	}
	if err := c.finish(2); err == nil {
		t.Error("one reply is taken for two")
	}
}

func TestARawConnectionReportsAnErrorReply(t *testing.T) {
	redis := testbroker.AnyRedis(t)
	c, err := dialRaw(redis.Addr())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.out.WriteString("*1\r\n$7\r\nPUBLISH\r\n"); err != nil {
		t.Fatal(err)
	}
	if err := c.finish(1); err == nil || !strings.Contains(err.Error(), "wrong number of arguments") {
		t.Errorf("the error is %v", err)
	}
}

func TestPercentilesAreOfTheNearestRank(t *testing.T) {
	hundred := make([]int64, 100)
	for i := range hundred {
		hundred[i] = int64(i + 1)
	}
	for _, c := range []struct {
		values []int64
		q      float64
		want   float64
	}{
		{[]int64{7}, 0.5, 7},
		{[]int64{7}, 0.999, 7},
		{[]int64{1, 2}, 0.5, 1},
		{[]int64{1, 2, 3}, 0.5, 2},
		{hundred, 0.5, 50},
		{hundred, 0.99, 99},
		{hundred, 0.999, 100},
		{hundred, 0, 1},
		{hundred, 1, 100},
	} {
		if got := percentile(c.values, c.q); got != c.want {
			t.Errorf("percentile %v of %d values is %v, want %v", c.q, len(c.values), got, c.want)
		}
	}
	if got := percentile(nil, 0.5); !math.IsNaN(got) {
		t.Errorf("a percentile of nothing is %v", got)
	}
}

func TestTheMedianIsTheMiddleOrTheMeanOfTheTwoMiddleOnes(t *testing.T) {
	values := []float64{9, 1, 5}
	if got := median(values); got != 5 {
		t.Errorf("median is %v, want 5", got)
	}
	if !slices.Equal(values, []float64{9, 1, 5}) {
		t.Errorf("median has sorted its argument: %v", values)
	}
	if got := median([]float64{4, 1, 2, 3}); got != 2.5 {
		t.Errorf("median is %v, want 2.5", got)
	}
	if got := median(nil); !math.IsNaN(got) {
		t.Errorf("the median of nothing is %v", got)
	}
	if got := median([]float64{1, math.NaN(), 2}); !math.IsNaN(got) {
		t.Errorf("a run that was not measured disappears: %v", got)
	}
}

func TestARatioIsTheMedianOfTheRatiosOfNeighbouringRuns(t *testing.T) {
	runs := func(rates ...float64) []sample {
		var all []sample
		for _, r := range rates {
			s := newSample()
			s.rate = r
			all = append(all, s)
		}
		return all
	}
	// The machine is three times slower in the second round and ratios do not notice.
	got := compare(runs(60, 20, 80), runs(30, 10, 20), rateOf)
	if want := (ratio{mid: 2, low: 2, high: 4}); got != want {
		t.Errorf("ratio is %+v, want %+v", got, want)
	}
	if got := compare(runs(1), []sample{newSample()}, rateOf); !math.IsNaN(got.mid) {
		t.Errorf("a ratio to nothing is %v", got)
	}
}

func TestCostsAreSummarised(t *testing.T) {
	got := costSample([]int64{30, 10, 20, 40})
	if got.mean != 25 || got.p50 != 20 || got.max != 40 || !math.IsNaN(got.rate) {
		t.Errorf("summary is %+v", got)
	}
}

func TestACallThatComesLateIsHeldAgainstItWhereItCountsFromWhenItWasDue(t *testing.T) {
	const interval = int64(latencyInterval)
	s := newStamps(3)
	s.begin = []int64{7, 7 + interval, 7 + 5*interval} // the third one waited for three intervals
	s.end = []int64{17, 17 + interval, 17 + 5*interval}
	s.handled.Store(3)
	got, err := s.sample(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got.max != 10 || got.due != float64(10+3*interval) {
		t.Errorf("from the call %v, from when it was due %v", got.max, got.due)
	}
}

func TestPacesCallEachTimeAndCatchUpAfterALateCall(t *testing.T) {
	const interval, late = 5 * time.Millisecond, 100 * time.Millisecond
	for name, pace := range map[string]func(int, time.Duration, func(int) error) error{"spin": spin, "tick": tick} {
		var at []int64
		start := now()
		err := pace(30, interval, func(i int) error {
			if i != len(at) {
				t.Errorf("%s: call %d has the number %d", name, len(at), i)
			}
			at = append(at, now())
			if i == 2 {
				for since(at[2]) < late {
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if len(at) != 30 {
			t.Errorf("%s: %d calls instead of 30", name, len(at))
		}
		if took := since(start); took < 29*interval {
			t.Errorf("%s: 30 calls took %v, that is too fast", name, took)
		}
		// Suppose the machine rests while the pace is caught up with: one call is late, and the others are not waited for.
		waited := 0
		for i := 4; i <= 20; i++ {
			if time.Duration(at[i]-at[i-1]) >= interval*9/10 {
				waited++
			}
		}
		if waited > 8 {
			t.Errorf("%s: after a late call the pace is not caught up with: %d of 17 calls were waited for", name, waited)
		}
	}
}

func TestAPaceEndsWithTheErrorOfACall(t *testing.T) {
	for name, pace := range map[string]func(int, time.Duration, func(int) error) error{"spin": spin, "tick": tick} {
		if err := pace(3, time.Millisecond, func(int) error { return errNoData }); !errors.Is(err, errNoData) {
			t.Errorf("%s: the error is %v", name, err)
		}
	}
}

func TestAMissingFigureIsAnErrorAndNotAGap(t *testing.T) {
	f := make(figures)
	for _, key := range allKeys {
		f[key] = 1
	}
	if err := f.check(); err != nil {
		t.Error(err)
	}
	f[keyDecode] = math.NaN()
	if err := f.check(); err == nil {
		t.Error("NaN passes for a figure")
	}
	delete(f, keyDecode)
	if err := f.check(); err == nil {
		t.Error("a missing figure passes")
	}
}

func TestTheTableSaysWhetherATargetIsMet(t *testing.T) {
	s := newSample()
	s.rate, s.mean, s.allocs, s.p50, s.p99 = 1234567, 980.4, 2.04, 999, 1_500_000
	rows := []row{
		row{what: "this", got: s, ratios: ratio{4.5, 4.25, 12.5}, base: "that"}.need("4 × that", true),
		baseRow("  that", []sample{newSample()}),
		row{what: "other", got: newSample(), ratios: noRatio}.need("a lot", true, false),
	}
	h := host{when: time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC), cpu: "CPU", redis: "7.0.15"}
	var table, markdown bytes.Buffer
	if err := writeTable(&table, h, rows); err != nil {
		t.Fatal(err)
	}
	if err := writeMarkdown(&markdown, h, rows); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"2026-11-23, CPU", "1,234,567", "4.50 × that", "4.25 to 12.5", "980 ns", "2.0", "999 ns", "1.50 ms",
		"4 × that  ", "yes", "NO",
	} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("the table has no %q:\n%s", want, &table)
		}
	}
	if want := "| &nbsp;&nbsp;that |"; !strings.Contains(markdown.String(), want) {
		t.Errorf("the Markdown has no %q:\n%s", want, &markdown)
	}
	columns := strings.Count(strings.Split(markdown.String(), "\n")[2], "|")
	for _, line := range strings.Split(strings.TrimSpace(markdown.String()), "\n")[2:] {
		if got := strings.Count(line, "|"); got != columns {
			t.Errorf("%d bars instead of %d: %s", got, columns, line)
		}
	}
}

func TestTheCommandLineIsChecked(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"-json -markdown", "exclude"},
		{"-json -brokers", "leave one of them out"},
		{"short", "no flag"},
		{"-row (", "error parsing regexp"},
		{"-fast", "not defined"},
	} {
		err := program(context.Background(), strings.Fields(c.args), io.Discard, io.Discard)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: the error is %v, want one with %q", c.args, err, c.want)
		}
	}
}

func TestARowThatDoesNotExistIsAnError(t *testing.T) {
	redis := testbroker.AnyRedis(t)
	o, err := parse([]string{"-row", "nothing"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if err := measure(t.Context(), o, tinyPlan, redis, io.Discard, io.Discard); err == nil {
		t.Error("no error")
	}
}
