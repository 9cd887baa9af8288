package brokertest

import "github.com/eventbus-go/eventbus/brokers"

var orderCases = []Case{
	{
		Name: "messages of one key arrive in the order in which they were published, across batches",
		Explanation: "The events of one user are handled in order: a deactivation that overtakes an activation leaves the " +
			"user active. Publish calls follow each other here; the key's order spans them.",
		needs: []need{keyOrder},
		run: func(w *world) {
			publishInBatches(w, func(m brokers.Message) string { return m.Key })
		},
	},
	{
		Name:        "messages of one channel arrive in the order in which they were published",
		Explanation: "The order of a channel includes the order of its keys.",
		needs:       []need{chOrder},
		run: func(w *world) {
			publishInBatches(w, func(m brokers.Message) string { return m.Channel })
		},
	},
}

func publishInBatches(w *world, group func(brokers.Message) string) {
	conn, chs := w.open(), w.channels(2)
	sub := w.subscribe(conn, brokers.Subscription{Channels: chs})
	all := append(w.messages(1500, chs[0], "a", "b", "c"), w.messages(500, chs[1], "d", "e")...)
	w.publishPaced(conn, sub, all)
	got := sub.waitFor("all messages arrive", all...)
	w.ascending(got, all, group)
	w.exactly(got, all)
}
