package observe

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/bus"
)

// notShown are fields that no metric shows, each for the reason given.
var notShown = map[string]string{
	"Stats.Published":       "the sum over the brokers, which a query makes",
	"DeadLetterStats.Since": "how long it has failed is seen from the metric of whether it fails",
}

// filled returns a value of T, in which every field that can be counted has a number of its own, and those numbers by
// field.
func filled[T any](next *float64) (v T, want map[string]float64) {
	want = make(map[string]float64)
	fill(reflect.ValueOf(&v).Elem(), "", want, next)
	return v, want
}

func fill(v reflect.Value, path string, want map[string]float64, next *float64) {
	for i := range v.NumField() {
		f, name := v.Field(i), v.Type().Name()+"."+v.Type().Field(i).Name
		if notShown[name] != "" {
			continue
		}
		number := func() int64 { *next++; want[path+name] = *next; return int64(*next) }
		switch x := f.Addr().Interface().(type) {
		case *int64:
			*x = number()
		case *bus.BreakerState:
			*x, want[path+name] = bus.BreakerOpen, float64(bus.BreakerOpen)
		case *bool:
			*x, want[path+name] = true, 1
		case *error:
			*x, want[path+name] = errors.New("away"), 1
		case *map[bus.DropReason]int64:
			*x = map[bus.DropReason]int64{"new": number()}
		case *map[brokers.Reason]int64:
			*x = map[brokers.Reason]int64{"new": number()}
		case *bus.Histogram:
			*x = bus.Histogram{Counts: []int64{number()}}
		case *map[string]bus.BrokerStats:
			inner, of := filled[bus.BrokerStats](next)
			*x = map[string]bus.BrokerStats{"b": inner}
			merge(want, of)
		case *map[string]bus.SubscriptionStats:
			inner, of := filled[bus.SubscriptionStats](next)
			*x = map[string]bus.SubscriptionStats{"s": inner}
			merge(want, of)
		default:
			if f.Kind() != reflect.Struct {
				want[path+name] = -1 // nobody knows how to show it
				continue
			}
			fill(f, path, want, next)
		}
	}
}

func merge(to, from map[string]float64) {
	for k, v := range from {
		to[k] = v
	}
}

func TestEverythingThatTheBusCountsIsAMetric(t *testing.T) {
	next := 1000.0
	st, want := filled[bus.Stats](&next)
	shown := make(map[float64]int)
	read(st, func(s Sample) {
		if s.Metric.Kind == Histogram {
			s.Value = float64(s.Histogram.Total())
		}
		shown[s.Value]++
	})
	for field, value := range want {
		if shown[value]--; shown[value] < 0 {
			t.Errorf("no metric shows %s: add one to the table in observe/table.go, or the field to notShown with the reason", field)
		}
	}
	if len(want) < 35 {
		t.Errorf("only %d fields were found: %v", len(want), want)
	}
}

func TestMetricsAreNamedAsPrometheusWantsThem(t *testing.T) {
	seen := make(map[string]bool)
	for _, m := range Metrics() {
		if !regexp.MustCompile(`^eventbus_[a-z]+(_[a-z]+)*$`).MatchString(m.Name) || seen[m.Name] {
			t.Errorf("%s is no name, or there twice", m.Name)
		}
		seen[m.Name] = true
		if (m.Kind == Counter) != strings.HasSuffix(m.Name, "_total") || m.Kind == Histogram && !strings.HasSuffix(m.Name, "_seconds") {
			t.Errorf("%s is a %v", m.Name, m.Kind)
		}
		if !strings.HasSuffix(m.Help, ".") {
			t.Errorf("the help of %s is no sentence: %q", m.Name, m.Help)
		}
	}
}

func TestLabelsAreBoundedWhateverTheyAreCalled(t *testing.T) {
	l := &labels{max: 5}
	hostile := []string{
		"other", "plain", "\xff\xfe", "a\nb\"} 1\nevil_metric 1", "a\x00b", strings.Repeat("x", 1<<20), "ü" + strings.Repeat("é", 100), "",
	}
	for i := range 1000 {
		hostile = append(hostile, fmt.Sprint("name", i))
	}
	values := make(map[string]bool)
	var sum float64
	m := &merger{labels: l, index: make(map[string]int)}
	metric := counter("x", "X.", "subscription")
	for range 2 {
		m.out, m.index = nil, make(map[string]int)
		for _, name := range hostile {
			m.add(Sample{Metric: metric, Labels: []string{name}, Value: 1})
		}
		sum = 0
		for _, s := range m.out {
			values[s.Labels[0]] = true
			sum += s.Value
			if v := s.Labels[0]; len(v) > maxValueBytes || strings.ContainsAny(v, "\x00\n") || strings.ToValidUTF8(v, "") != v {
				t.Errorf("a label has the value %q", v)
			}
		}
	}
	if len(values) != 6 || !values[other] || !values["plain"] || values["name0"] || len(m.out) != 6 || sum != float64(len(hostile)) {
		t.Errorf("%d values in %d samples, which sum to %v of %d: %v", len(values), len(m.out), sum, len(hostile), values)
	}
}

// Suppose ten subscriptions and room for three: when the others fail, nothing of the three may change.
func TestWhatSharesALabelIsMergedAsItsKindWants(t *testing.T) {
	h := func(n int64) bus.Histogram { return bus.Histogram{Counts: []int64{n, 1}, Sum: 1} }
	for _, c := range []struct {
		metric *Metric
		want   float64
	}{{counter("x", "", "l"), 7}, {largest(gauge("x", "", "l")), 4}, {smallest(gauge("x", "", "l")), 3}, {gauge("x", "", "l"), 7}} {
		m := &merger{labels: &labels{max: 1}, index: make(map[string]int)}
		for i, name := range []string{"first", "second", "third"} {
			m.add(Sample{Metric: c.metric, Labels: []string{name}, Value: float64(i + 2)})
		}
		if len(m.out) != 2 || m.out[0].Value != 2 || m.out[1].Value != c.want || m.out[1].Labels[0] != other {
			t.Errorf("%+v became %+v, want %v", c.metric, m.out, c.want)
		}
	}
	m := &merger{labels: &labels{max: 1}, index: make(map[string]int)}
	for i, name := range []string{"first", "second", "third", "fourth"} {
		s := Sample{Metric: &Metric{Name: "x", Kind: Histogram, Labels: []string{"l"}}, Labels: []string{name}}
		if i != 1 { // it has measured nothing
			s.Histogram = h(int64(i))
		}
		m.add(s)
	}
	if got := m.out[1].Histogram; !reflect.DeepEqual(got.Counts, []int64{5, 2}) || got.Sum != 2 {
		t.Errorf("the histograms became %+v", got)
	}
}
