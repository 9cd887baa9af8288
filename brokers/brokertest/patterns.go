package brokertest

import (
	"github.com/eventbus-go/eventbus/brokers"
)

var patternCases = []Case{
	{
		Name: "a pattern matches whole tokens",
		Explanation: "* is one token and > one or more, on every broker. Redis's own * also matches a dot, so that " +
			"a.* gets a.b.c; a driver re-checks what its broker matched.",
		needs: []need{patterns},
		run:   wholeTokens,
	},
	{
		Name: "a message that several patterns of a subscription match arrives once",
		Explanation: "Published = delivered. Redis sends one copy for each subscribed channel and pattern that " +
			"matches; the driver keeps one.",
		needs: []need{patterns},
		run:   overlappingPatterns,
	},
	{
		Name: "channels that foreign clients name do not leak through a pattern",
		Explanation: "Brokers' own wildcards know [, ? and more, and foreign channels contain what they like. What " +
			"our grammar does not match is not delivered.",
		needs: []need{patterns, canInject},
		run:   foreignChannels,
	},
}

func wholeTokens(w *world) {
	conn, base := w.open(), w.h.Channel()
	for _, tt := range []struct {
		pattern     string
		yes, no     []string
		explanation string
	}{
		{pattern: base + ".*", yes: []string{".a", ".b-c", ".d_1"}, no: []string{"", ".a.b", ".a.b.c", "x.a"}},
		{pattern: base + ".>", yes: []string{".a", ".a.b", ".a.b.c"}, no: []string{"", "x.a"}},
		{pattern: base + ".*.z", yes: []string{".a.z", ".z.z"}, no: []string{".z", ".a", ".a.b.z", ".a.z.b", ".a.zz"}},
		{pattern: base + ".*.>", yes: []string{".a.b", ".a.b.c"}, no: []string{".a", ""}},
	} {
		sub := w.subscribe(conn, brokers.Subscription{Channels: []string{tt.pattern}})
		var batch, want []brokers.Message
		for _, suffix := range tt.no {
			batch = append(batch, w.message(base+suffix, "k"))
		}
		for _, suffix := range tt.yes {
			want = append(want, w.message(base+suffix, "k"))
		}
		w.publish(conn, append(batch, want...)...)
		got := sub.waitFor("what "+tt.pattern+" matches arrives", want...)
		w.none(got, batch, tt.pattern+" does not match its channel")
		w.exactly(got, want)
		_ = sub.end()
	}
}

func overlappingPatterns(w *world) {
	conn, base := w.open(), w.h.Channel()
	sub := w.subscribe(conn, brokers.Subscription{Channels: []string{base + ".>", base + ".*", base + ".a", base + ".a"}})
	msgs := []brokers.Message{w.message(base+".a", "k"), w.message(base+".b", "k"), w.message(base+".a.b", "k")}
	fence := w.message(base+".a", "k")
	w.publish(conn, msgs...)
	w.publish(conn, fence)
	want := append(msgs, fence)
	w.exactly(sub.waitFor("all messages arrive", want...), want)
}

func foreignChannels(w *world) {
	conn, base := w.open(), w.h.Channel()
	sub := w.subscribe(conn, brokers.Subscription{Channels: []string{base + ".*", base + ".a.>"}})
	foreign := []string{".[ab]", ".?", ".A", ".a b", ".ä", "..", ".", ".a.", ".a..b", ".a.*", ".a.\x00"}
	for _, suffix := range foreign {
		if err := w.h.Inject(base+suffix, []byte("foreign")); err != nil {
			w.Fatalf("Inject: %v", err)
		}
	}
	fence := w.message(base+".a.b", "k")
	w.publish(conn, fence)
	w.exactly(sub.waitFor("a later message arrives", fence), []brokers.Message{fence})
}
