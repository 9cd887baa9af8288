package brokertest

import (
	"github.com/eventbus-go/eventbus/brokers"
)

var durableCases = []Case{
	{
		Name:        "what is published while no member of a known group runs is delivered later",
		Explanation: "A service that restarts finds the events of the time when it was down.",
		needs:       []need{durable, groups},
		run:         laterIsDelivered,
	},
	{
		Name:        "what the broker has confirmed survives its death",
		Explanation: "Confirmed means stored. A broker that confirms and forgets loses what nobody will send again.",
		needs:       []need{durable, groups, canKill},
		run:         confirmedSurvives,
	},
	{
		Name:        "a new group begins with the first retained message unless it asks to start now",
		Explanation: "A service that is deployed after the first event still gets it; one that wants news only says so.",
		needs:       []need{replay, groups},
		run:         groupsStart,
	},
	{
		Name: "the second publish of one id on one channel is dropped, on another channel it is not",
		Explanation: "The bus sends again what it cannot vouch for. Deduplication by id alone would take an event's second " +
			"channel for a repetition.",
		needs: []need{dedup},
		run:   secondPublishIsDropped,
	},
}

func laterIsDelivered(w *world) {
	conn, ch := w.open(), w.h.Channel()
	s := brokers.Subscription{Channels: []string{ch}, Group: w.group()}
	_ = w.subscribe(conn, s).end()
	msgs := w.messages(50, ch)
	w.publish(conn, msgs...)
	w.exactly(w.subscribe(w.open(), s).waitFor("what was published meanwhile arrives", msgs...), msgs)
}

func confirmedSurvives(w *world) {
	conn, ch := w.open(), w.h.Channel()
	s := brokers.Subscription{Channels: []string{ch}, Group: w.group()}
	_ = w.subscribe(conn, s).end()
	msgs := w.messages(200, ch)
	w.publish(conn, msgs...)
	w.fault("Kill", w.h.Kill)
	w.fault("Restart", w.h.Restart)
	w.subscribe(w.open(), s).waitFor("what was confirmed before the broker died arrives", msgs...)
}

func groupsStart(w *world) {
	conn, ch := w.open(), w.h.Channel()
	before, after := w.message(ch, "k"), w.message(ch, "k")
	w.publish(conn, before)
	first := w.subscribe(conn, brokers.Subscription{Channels: []string{ch}, Group: w.group(), Start: brokers.StartFirst})
	now := w.subscribe(conn, brokers.Subscription{Channels: []string{ch}, Group: w.group(), Start: brokers.StartNow})
	w.publish(conn, after)
	first.waitFor("a new group gets the retained message and the next", before, after)
	w.none(now.waitFor("a group that starts now gets the next message", after), []brokers.Message{before}, "it is older")
}

func secondPublishIsDropped(w *world) {
	conn, chs := w.open(), w.channels(2)
	sub := w.subscribe(conn, brokers.Subscription{Channels: chs})
	m, elsewhere, fence := w.message(chs[0], "k"), brokers.Message{}, w.message(chs[0], "k")
	elsewhere = m
	elsewhere.Channel = chs[1]
	w.publish(conn, m)
	w.publish(conn, m)
	w.publish(conn, elsewhere, fence)
	want := []brokers.Message{m, elsewhere, fence}
	w.exactly(sub.waitFor("each arrives", want...), want)
}
