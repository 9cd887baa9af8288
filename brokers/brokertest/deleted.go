package brokertest

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
)

var deletedCases = []Case{
	{
		Name: "what is deleted under a running consumer heals, or the subscription fails loudly",
		Explanation: "Somebody tidies up a stream, a topic, a queue or a group that is in use. A subscription that then runs " +
			"for ever and gets nothing is an outage that nobody sees.",
		needs: []need{durable, groups, canDelete},
		run:   deletedHeals,
	},
}

func deletedHeals(w *world) {
	var figures []string
	for _, what := range slices.Sorted(maps.Keys(w.h.Delete)) {
		conn, ch, group := w.open(), w.h.Channel(), w.group()
		sub := w.subscribe(conn, brokers.Subscription{Channels: []string{ch}, Group: group})
		m := w.message(ch, "k")
		w.publish(conn, m)
		sub.waitFor("a message arrives before the "+what+" is deleted", m)
		w.fault("Delete "+what, func() error { return w.h.Delete[what](ch, group) })
		deleted := time.Now()
		w.poll([]*subscriber{sub}, func() (string, bool) {
			probe := w.message(ch, "k")
			ctx, cancel := context.WithTimeout(w.ctx, 8*brief)
			defer cancel()
			_ = conn.Publish(ctx, []brokers.Message{probe}) // may well fail meanwhile
			return "delivery resumes after the " + what + " was deleted, or Subscribe returns an error",
				len(sub.arrivals()) > 1 || isClosed(sub.done)
		})
		took := time.Since(deleted)
		how := "healed"
		if isClosed(sub.done) {
			how = "failed with an error"
			if sub.err == nil {
				w.Errorf("Subscribe returned nil after the %s was deleted", what)
			}
		}
		if limit := 5 * time.Second; inFull() && took > limit {
			w.Errorf("after the %s was deleted, the subscription %s after %v; at most %v are allowed", what, how, took, limit)
		}
		figures = append(figures, what+" "+how+" after "+took.Round(time.Millisecond).String())
		_ = conn.Close(w.within(w.h.Patience))
	}
	w.figure("deleted under a running consumer: %s", strings.Join(figures, ", "))
}
