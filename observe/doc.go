// Package observe has the metrics of a bus: what there are, as data ([Metrics]), and a [Collector] that reads them. It
// imports no monitoring library: package observe/prometheus serves them in one line, and package observe/otel hands
// them to OpenTelemetry.
//
// Everything is read when it is asked for, from [bus.Bus.Stats], so that an event costs nothing for being counted here;
// only the two histograms, of which see [bus.Bus.Measure], cost two looks at the clock for each event.
//
// What has to be asked of a broker (whether it answers, lag) or of a store (how many dead letters there are) is asked
// at most every [Every], all at once, and never waited for longer than [Timeout]: a frozen broker delays no scrape by
// more, and hides no other metric.
//
// Labels are bounded: a label has at most [MaxLabelValues] values, and what comes later is summed up under "other".
// Nothing that a publisher can choose, such as the type of an event, is a label.
package observe
