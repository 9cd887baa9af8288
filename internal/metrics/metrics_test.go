package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/eventbus-go/eventbus/brokers/memory"
	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/observe"
	"github.com/eventbus-go/eventbus/observe/prometheus"
	"github.com/eventbus-go/eventbus/schema"
)

func read(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile("../../" + path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestTheDocumentIsNotStale(t *testing.T) {
	if string(read(t, "docs/metrics.md")) != document() {
		t.Error("docs/metrics.md does not say what metrics there are: run go run ./internal/metrics > docs/metrics.md")
	}
}

// A dashboard is the part of one that this looks at.
type dashboard struct {
	Templating struct {
		List []struct {
			Query any `json:"query"`
		} `json:"list"`
	} `json:"templating"`
	Panels []struct {
		ID      int    `json:"id"`
		Title   string `json:"title"`
		Targets []struct {
			Expr   string `json:"expr"`
			Legend string `json:"legendFormat"`
		} `json:"targets"`
		GridPos struct{ H, W, X, Y int } `json:"gridPos"`
	} `json:"panels"`
}

// queries returns what the dashboard asks for, by where; and its panels are looked at.
func queries(t *testing.T) map[string]string {
	t.Helper()
	var d dashboard
	if err := json.Unmarshal(read(t, "deploy/grafana/eventbus.json"), &d); err != nil {
		t.Fatal(err)
	}
	all, ids := make(map[string]string), make(map[int]bool)
	for i, v := range d.Templating.List {
		all[fmt.Sprint("variable ", i)] = fmt.Sprint(v.Query)
	}
	for _, p := range d.Panels {
		if ids[p.ID] || p.Title == "" || p.GridPos.X+p.GridPos.W > 24 {
			t.Errorf("the panel %d (%s) has the id of another one, no title, or no room", p.ID, p.Title)
		}
		ids[p.ID] = true
		for i, target := range p.Targets {
			where := fmt.Sprintf("panel %q, query %d", p.Title, i)
			all[where] = target.Expr
			for _, m := range legendLabel.FindAllStringSubmatch(target.Legend, -1) {
				if !strings.Contains(target.Expr, m[1]) {
					t.Errorf("%s shows the label %s, which its query does not keep", where, m[1])
				}
			}
		}
	}
	return all
}

var legendLabel = regexp.MustCompile(`{{\s*(\w+)\s*}}`)

// alertFile is what Prometheus allows in a file of rules, as far as alerts go.
type alertFile struct {
	Groups []struct {
		Name  string `yaml:"name"`
		Rules []struct {
			Alert       string            `yaml:"alert"`
			Expr        string            `yaml:"expr"`
			For         string            `yaml:"for"`
			Labels      map[string]string `yaml:"labels"`
			Annotations map[string]string `yaml:"annotations"`
		} `yaml:"rules"`
	} `yaml:"groups"`
}

// alerts returns the expressions of the alert rules by their names; and the rules are looked at.
func alerts(t *testing.T) map[string]string {
	t.Helper()
	var file alertFile
	if err := yaml.UnmarshalWithOptions(read(t, "deploy/prometheus/alerts.yaml"), &file, yaml.Strict()); err != nil {
		t.Fatal(err)
	}
	all := make(map[string]string)
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			if all[r.Alert] != "" || r.Alert == "" || r.Annotations["summary"] == "" || !slices.Contains([]string{"warning", "critical"}, r.Labels["severity"]) {
				t.Errorf("the alert %q is there twice, or has no name, summary or severity", r.Alert)
			}
			all[r.Alert] = r.Expr
			for _, m := range alertLabel.FindAllStringSubmatch(fmt.Sprint(r.Annotations), -1) {
				if !strings.Contains(r.Expr, m[1]) && strings.Contains(r.Expr, " by ") {
					t.Errorf("the alert %s names the label %s, which its expression does not keep", r.Alert, m[1])
				}
			}
		}
	}
	return all
}

var alertLabel = regexp.MustCompile(`\$labels\.(\w+)`)

// exported returns the metrics that a scrape of a real bus has, with their labels.
func exported(t *testing.T) map[string][]string {
	t.Helper()
	b, err := bus.New(t.Context(), memory.New(), bus.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close(t.Context())
	handled := make(chan struct{})
	_, err = b.Subscribe(bus.Subscription{
		Name: "s", Group: "g", Events: []string{"user.*"}, Handler: func(context.Context, schema.Event) error { close(handled); return nil },
	})
	if err == nil {
		err = b.Start(t.Context())
	}
	if err == nil {
		err = b.Publish(t.Context(), schema.Event{Type: "user.registered"})
	}
	if err != nil {
		t.Fatal(err)
	}
	<-handled
	out := make(map[string][]string)
	for one := range scrape(t, b) {
		m := series.FindStringSubmatch(one)
		labels := out[m[1]]
		for _, pair := range seriesLabel.FindAllStringSubmatch(m[2], -1) {
			labels = append(labels, pair[1])
		}
		out[m[1]] = slices.Compact(slices.Sorted(slices.Values(labels)))
	}
	return out
}

// scrape returns the series that a bus exports, with their labels and without their values.
func scrape(t *testing.T, b *bus.Bus) map[string]bool {
	t.Helper()
	w := httptest.NewRecorder()
	prometheus.Handler(b).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	out := make(map[string]bool)
	for line := range strings.Lines(w.Body.String()) {
		if m := series.FindStringSubmatch(line); m != nil {
			out[line[:strings.LastIndexByte(line, ' ')]] = true
		}
	}
	return out
}

var (
	series      = regexp.MustCompile(`^(eventbus_\w+)(?:{(.*)})?(?: \S+\n)?$`)
	seriesLabel = regexp.MustCompile(`(\w+)="`)
)

// What an expression names: metrics, the labels that it selects by, and those that it groups by.
var (
	metricName = regexp.MustCompile(`eventbus_\w+`)
	selector   = regexp.MustCompile(`(eventbus_\w+){([^}]*)}`)
	matcher    = regexp.MustCompile(`(\w+)\s*(?:=~|!~|!=|=)`)
	grouping   = regexp.MustCompile(`\b(?:by|without|on|ignoring)\s*\(([^)]*)\)`)
	variable   = regexp.MustCompile(`label_values\((eventbus_\w+)(?:{[^}]*})?, (\w+)\)`)
)

// scraped are the labels that Prometheus adds to whatever it scrapes.
var scraped = []string{"job", "instance"}

// faults returns what an expression names and a bus does not export.
func faults(expr string, has map[string][]string) (out []string) {
	names := metricName.FindAllString(expr, -1)
	known := slices.Clone(scraped)
	for _, name := range names {
		if _, ok := has[name]; !ok {
			out = append(out, "no metric "+name)
		}
		known = append(known, has[name]...)
	}
	for _, s := range selector.FindAllStringSubmatch(expr, -1) {
		for _, m := range matcher.FindAllStringSubmatch(s[2], -1) {
			if !slices.Contains(has[s[1]], m[1]) && !slices.Contains(scraped, m[1]) {
				out = append(out, fmt.Sprintf("%s has no label %s", s[1], m[1]))
			}
		}
	}
	for _, g := range grouping.FindAllStringSubmatch(expr, -1) {
		for label := range strings.SplitSeq(g[1], ",") {
			if label = strings.TrimSpace(label); !slices.Contains(known, label) {
				out = append(out, "no metric of it has the label "+label)
			}
		}
	}
	if m := variable.FindStringSubmatch(expr); m != nil && !slices.Contains(append(has[m[1]], scraped...), m[2]) {
		out = append(out, fmt.Sprintf("%s has no label %s", m[1], m[2]))
	}
	return out
}

func TestTheDashboardAndTheAlertsNameWhatThereIs(t *testing.T) {
	has := exported(t)
	for what, exprs := range map[string]map[string]string{"the dashboard": queries(t), "the alert rules": alerts(t)} {
		n := 0
		for _, where := range slices.Sorted(maps.Keys(exprs)) {
			n += len(metricName.FindAllString(exprs[where], -1))
			for _, fault := range faults(exprs[where], has) {
				t.Errorf("%s, %s: %s: %s", what, where, fault, exprs[where])
			}
		}
		if n < 20 {
			t.Errorf("%s: only %d metrics were found in it", what, n)
		}
	}
}

func TestEveryMetricIsExportedAndOnTheDashboard(t *testing.T) {
	has := exported(t)
	shown := make(map[string]bool)
	for _, expr := range queries(t) {
		for _, name := range metricName.FindAllString(expr, -1) {
			shown[name] = true
		}
	}
	for _, m := range observe.Metrics() {
		names := []string{m.Name}
		if m.Kind == observe.Histogram {
			names = []string{m.Name + "_bucket", m.Name + "_sum", m.Name + "_count"}
		}
		if !slices.ContainsFunc(names, func(name string) bool { return shown[name] }) {
			t.Errorf("%s is nowhere on the dashboard", m.Name)
		}
		for _, name := range names {
			if _, ok := has[name]; !ok {
				t.Errorf("a scrape of a bus that handles has no %s", name)
			}
			delete(has, name)
		}
	}
	if len(has) > 0 {
		t.Errorf("a scrape has what no table names: %v", has)
	}
}

// askedFor are the metrics that a broker or a store is asked for, which are left out where it does not answer in time.
var askedFor = regexp.MustCompile(`^eventbus_(?:lag_|broker_up|dead_letters_(?:depth|oldest|evicted))`)

// Prometheus sees a counter grow only from a value that it has scraped. Suppose the buckets of a histogram come with the first event,
// beside the one of +Inf, which was there: then all of the first events are seen as older than the last bound.
func TestEverySeriesIsThereFromTheBeginning(t *testing.T) {
	b, err := bus.New(t.Context(), memory.New(), bus.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close(t.Context())
	handled := make(chan struct{}, 1)
	_, err = b.Subscribe(bus.Subscription{
		Name: "s", Group: "g", Events: []string{"user.*"}, Handler: func(context.Context, schema.Event) error { handled <- struct{}{}; return nil },
	})
	if err := errors.Join(err, b.Start(t.Context())); err != nil {
		t.Fatal(err)
	}
	before := scrape(t, b)
	for range 2 { // the outcome of the first one is in the books when the second one is handled
		if err := b.Publish(t.Context(), schema.Event{Type: "user.registered", Subject: "one"}); err != nil {
			t.Fatal(err)
		}
		<-handled
	}
	for one := range scrape(t, b) {
		if !before[one] && !askedFor.MatchString(one) {
			t.Errorf("%s was not there before the first event", one)
		}
	}
}

func TestAFaultIsFound(t *testing.T) {
	has := map[string][]string{"eventbus_a_total": {"broker"}, "eventbus_b": nil}
	for expr, want := range map[string]int{
		`sum by (broker, job) (rate(eventbus_a_total{broker="x"}[5m]))`: 0,
		`rate(eventbus_c_total[5m])`:                                    1,
		`eventbus_a_total{reason="x", job=~".*"}`:                       1,
		`sum by (reason) (eventbus_a_total)`:                            1,
		`eventbus_a_total / on (broker, nothing) eventbus_b`:            1,
		`label_values(eventbus_b, broker)`:                              1,
		`label_values(eventbus_a_total{job="x"}, broker)`:               0,
	} {
		if got := faults(expr, has); len(got) != want {
			t.Errorf("%s has the faults %q, want %d", expr, got, want)
		}
	}
}
