package otel

import (
	"context"
	"fmt"
	"strings"

	api "go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/observe"
)

// Metrics hands the metrics of b, as docs/metrics.md lists them, to a meter of provider, or of the global provider
// where that is nil. They are read when the SDK collects. stop ends that.
//
// Their names are those of Prometheus without the suffixes that its exporter adds: eventbus_publish_accepted_total is
// eventbus.publish_accepted, eventbus_lag_oldest_age_seconds is eventbus.lag_oldest_age with the unit s. The two
// histograms are not among them, since the API has no histogram that is read; [Instrument] records
// messaging.process.duration instead.
func Metrics(b *bus.Bus, provider metric.MeterProvider, opts ...observe.Option) (stop func() error, err error) {
	if provider == nil {
		provider = api.GetMeterProvider()
	}
	meter := provider.Meter(scope)
	r := &reader{
		samples: observe.NewCollector(b, opts...), counters: make(map[string]metric.Int64ObservableCounter),
		gauges: make(map[string]metric.Float64ObservableGauge),
	}
	all, err := r.instruments(meter)
	if err != nil {
		return nil, fmt.Errorf("otel: %w", err)
	}
	registered, err := meter.RegisterCallback(r.observe, all...)
	if err != nil {
		return nil, fmt.Errorf("otel: %w", err)
	}
	return registered.Unregister, nil
}

// A reader observes the samples of a bus.
type reader struct {
	samples  *observe.Collector
	counters map[string]metric.Int64ObservableCounter // by the metric's name
	gauges   map[string]metric.Float64ObservableGauge
}

func (r *reader) instruments(meter metric.Meter) (all []metric.Observable, err error) {
	for _, m := range observe.Metrics() {
		name, unit := nameOf(m)
		switch m.Kind {
		case observe.Counter:
			r.counters[m.Name], err = meter.Int64ObservableCounter(name, metric.WithDescription(m.Help), metric.WithUnit(unit))
			all = append(all, r.counters[m.Name])
		case observe.Gauge:
			r.gauges[m.Name], err = meter.Float64ObservableGauge(name, metric.WithDescription(m.Help), metric.WithUnit(unit))
			all = append(all, r.gauges[m.Name])
		}
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

// nameOf is the name of a metric without what its unit and kind add to it.
func nameOf(m *observe.Metric) (name, unit string) {
	name, unit = strings.TrimPrefix(m.Name, "eventbus_"), ""
	name = strings.TrimSuffix(name, "_total")
	if short, ok := strings.CutSuffix(name, "_seconds"); ok {
		name, unit = short, "s"
	}
	return "eventbus." + name, unit
}

func (r *reader) observe(ctx context.Context, to metric.Observer) error {
	for _, s := range r.samples.Collect(ctx) {
		attrs := make([]attribute.KeyValue, len(s.Labels))
		for i, v := range s.Labels {
			attrs[i] = attribute.String(s.Metric.Labels[i], v)
		}
		set := metric.WithAttributeSet(attribute.NewSet(attrs...))
		switch s.Metric.Kind {
		case observe.Counter:
			to.ObserveInt64(r.counters[s.Metric.Name], int64(s.Value), set)
		case observe.Gauge:
			to.ObserveFloat64(r.gauges[s.Metric.Name], s.Value, set)
		}
	}
	return nil
}
