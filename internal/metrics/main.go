// Program metrics writes docs/metrics.md: every metric there is, from the table in package observe. A test fails where
// the file is stale, and where a dashboard or an alert rule names what is not there.
//
//	go run ./internal/metrics > docs/metrics.md
package main

import (
	"fmt"
	"strings"

	"github.com/eventbus-go/eventbus/observe"
)

func main() { fmt.Print(document()) }

const head = `# Metrics

What ` + "`observe/prometheus`" + ` serves, and ` + "`observe/otel`" + ` hands to OpenTelemetry. Generated from the table in
` + "`observe/table.go`" + ` by ` + "`go run ./internal/metrics > docs/metrics.md`" + `.

Everything is read when it is scraped; an event costs nothing for being counted. A label has at most 100 values by default, and what
comes later is summed up under ` + "`other`" + `. Gauges of a broker or a store (lag, depth) are the same in every process that asks: take the
maximum over processes, not the sum.

| metric | kind | labels | what it says |
|---|---|---|---|
`

func document() string {
	var b strings.Builder
	b.WriteString(head)
	for _, m := range observe.Metrics() {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", m.Name, m.Kind, strings.Join(m.Labels, ", "), m.Help)
	}
	b.WriteString(tail)
	return b.String()
}

const tail = `
## What to look at

| question | query |
|---|---|
| Is something being lost? | ` + "`sum by (broker, reason) (increase(eventbus_publish_dropped_total[5m])) > 0`" + ` |
| Does publishing keep up? | ` + "`eventbus_publish_queued`" + `, and ` + "`rate(eventbus_publish_accepted_total[5m]) - rate(eventbus_publish_confirmed_total[5m])`" + ` |
| Does handling keep up? | ` + "`max by (group, channel) (eventbus_lag_waiting)`" + `, and where the broker knows no lag the age of events: ` + "`histogram_quantile(0.99, sum by (le, subscription) (rate(eventbus_subscription_event_age_seconds_bucket[5m])))`" + ` |
| Are the workers busy? | ` + "`rate(eventbus_subscription_handling_seconds_sum[5m])`" + `: how many workers are, on average; compare it with the subscription's concurrency |
| What fails? | ` + "`rate(eventbus_subscription_failed_total[5m])`" + `, ` + "`rate(eventbus_subscription_retries_total[5m])`" + `; which events, the dead letters say |

The dashboard is [deploy/grafana/eventbus.json](../deploy/grafana/eventbus.json), and the alert rules are
[deploy/prometheus/alerts.yaml](../deploy/prometheus/alerts.yaml). A test compares both with the metrics that a bus exports.
`
