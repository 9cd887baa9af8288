// Package prometheus serves the metrics of a bus to Prometheus, in one line:
//
//	http.Handle("/metrics", prometheus.Handler(b))
//
// The handler has a registry of its own and touches no global one. A program that has a registry adds a [NewCollector]
// to it instead:
//
//	registry.MustRegister(prometheus.NewCollector(ctx, b))
//
// What metrics there are is in docs/metrics.md; package observe says what a scrape costs, how long it may take and how
// labels are bounded. A dashboard and alert rules for them are in the folders deploy/grafana and deploy/prometheus.
package prometheus

import (
	"context"
	"net/http"

	prom "github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/observe"
)

// Handler returns a handler that answers a scrape with the metrics of b, in the format that the scraper asks for. It is
// safe for concurrent use, and goes on answering after b was closed.
func Handler(b *bus.Bus, opts ...observe.Option) http.Handler {
	c := newCollector(b, opts)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		registry := prom.NewRegistry() // of this scrape, since a collector is not told whose scrape it is
		if err := registry.Register(&Collector{c, r.Context()}); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		promhttp.HandlerFor(registry, promhttp.HandlerOpts{EnableOpenMetrics: true}).ServeHTTP(w, r)
	})
}

// A Collector is a collector of the Prometheus client library. It is one for each bus of a registry; several buses need
// a label that tells them apart, by prometheus.WrapRegistererWith.
type Collector struct {
	*collector
	ctx context.Context
}

// NewCollector returns a Collector of b. When ctx has ended, what has to be asked of brokers and stores is left out.
func NewCollector(ctx context.Context, b *bus.Bus, opts ...observe.Option) *Collector {
	return &Collector{newCollector(b, opts), ctx}
}

// Describe implements the client library's Collector.
func (c *Collector) Describe(out chan<- *prom.Desc) {
	for _, d := range c.descs {
		out <- d
	}
}

// Collect implements the client library's Collector.
func (c *Collector) Collect(out chan<- prom.Metric) {
	for _, s := range c.samples.Collect(c.ctx) {
		m, err := c.metric(s)
		if err != nil {
			m = prom.NewInvalidMetric(c.descs[s.Metric.Name], err)
		}
		out <- m
	}
}

// A collector is what the scrapes of one bus share.
type collector struct {
	samples *observe.Collector
	descs   map[string]*prom.Desc // by name
}

func newCollector(b *bus.Bus, opts []observe.Option) *collector {
	c := &collector{samples: observe.NewCollector(b, opts...), descs: make(map[string]*prom.Desc)}
	for _, m := range observe.Metrics() {
		c.descs[m.Name] = prom.NewDesc(m.Name, m.Help, m.Labels, nil)
	}
	return c
}

func (c *collector) metric(s observe.Sample) (prom.Metric, error) {
	desc := c.descs[s.Metric.Name]
	switch s.Metric.Kind {
	case observe.Counter:
		return prom.NewConstMetric(desc, prom.CounterValue, s.Value, s.Labels...)
	case observe.Histogram:
		return histogram(desc, s)
	default:
		return prom.NewConstMetric(desc, prom.GaugeValue, s.Value, s.Labels...)
	}
}

// histogram sums the buckets up, as Prometheus has them.
func histogram(desc *prom.Desc, s observe.Sample) (prom.Metric, error) {
	h := s.Histogram
	buckets := make(map[float64]uint64, len(h.Bounds))
	var n uint64
	for i, bound := range h.Bounds {
		n += uint64(h.Counts[i])
		buckets[bound.Seconds()] = n
	}
	return prom.NewConstHistogram(desc, uint64(h.Total()), h.Sum.Seconds(), buckets, s.Labels...)
}
