package brokertest

import (
	"fmt"
	"slices"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
)

var groupCases = []Case{
	{
		Name: "members of a group share the messages",
		Explanation: "Three instances of a service are one subscriber: each message goes to one of them, so that " +
			"one e-mail is sent and not three.",
		needs: []need{groups},
		run:   membersShare,
	},
	{
		Name:        "each group gets every message, and so does a subscription without one",
		Explanation: "E-mail and audit are different groups; neither takes the other's messages.",
		needs:       []need{groups},
		run:         eachGroupGetsAll,
	},
	{
		Name: "a message goes to no member while another has one of its key unsettled",
		Explanation: "Order per key with competing consumers: two instances that handle two events of one user at the same " +
			"time may finish them in either order.",
		needs: []need{groups, keyOrder},
		run:   oneMemberPerKey,
	},
	{
		Name: "the members that stay get what comes after one has left",
		Explanation: "A rolling restart of a service must not stop its group, nor lose what was not fetched by the " +
			"one that left.",
		needs: []need{groups},
		run:   membersLeave,
	},
	{
		Name: "settling for one group settles nothing for another",
		Explanation: "The settler of one group that is given another's token must not take a message away from it, " +
			"or an event that was never handled is gone.",
		needs: []need{groups, redelivers},
		run:   settlingIsForOneGroup,
	},
}

func membersShare(w *world) {
	ch, group := w.h.Channel(), w.group()
	publisher := w.open()
	var members []*subscriber
	for range 3 {
		members = append(members, w.subscribe(w.open(), brokers.Subscription{Channels: []string{ch}, Group: group}))
	}
	msgs := w.messages(900, ch)
	for batch := range slices.Chunk(msgs, 50) {
		w.publish(publisher, batch...)
	}
	together(members, "all messages arrive at one member each", msgs)
	all := append(msgs, w.flush(publisher, ch, members)...)
	w.exactly(together(members, "what was published last arrives", all), all)
}

// flush publishes until each member of a group got something of it, or for as long as the suite watches: a member that
// has nothing to do gets nothing. It returns what it published. What members should not have got of what was published
// before has then arrived.
func (w *world) flush(publisher brokers.Conn, ch string, members []*subscriber) (fences []brokers.Message) {
	w.Helper()
	w.watch(func() bool {
		fence := w.message(ch, fmt.Sprint("fence-", len(fences)))
		w.publish(publisher, fence)
		fences = append(fences, fence)
		return !slices.ContainsFunc(members, func(m *subscriber) bool {
			return len(missing(m.arrivals(), fences)) == len(fences)
		})
	})
	return fences
}

// together waits until the subscribers have all messages among them, and returns all that they got.
func together(subs []*subscriber, what string, msgs []brokers.Message) []arrival {
	subs[0].w.Helper()
	var all []arrival
	subs[0].w.poll(subs, func() (string, bool) {
		all = all[:0]
		for _, s := range subs {
			all = append(all, s.arrivals()...)
		}
		lost := missing(all, msgs)
		return fmt.Sprintf("%s: %d of %d are missing", what, len(lost), len(msgs)), len(lost) == 0
	})
	return all
}

func eachGroupGetsAll(w *world) {
	conn, ch := w.open(), w.h.Channel()
	subs := []*subscriber{
		w.subscribe(conn, brokers.Subscription{Channels: []string{ch}, Group: w.group()}),
		w.subscribe(conn, brokers.Subscription{Channels: []string{ch}, Group: w.group()}),
		w.subscribe(conn, brokers.Subscription{Channels: []string{ch}}),
	}
	msgs := w.messages(100, ch)
	w.publish(conn, msgs...)
	for _, sub := range subs {
		w.exactly(sub.waitFor("all messages arrive at each group", msgs...), msgs)
	}
}

func oneMemberPerKey(w *world) {
	ch, group := w.h.Channel(), w.group()
	publisher := w.open()
	msgs := w.messages(600, ch, "a", "b", "c", "d", "e")
	order := newKeyWatch(msgs)
	work := make(chan []brokers.Delivery, len(msgs))
	var members []*subscriber
	for i := range 3 {
		s := brokers.Subscription{Channels: []string{ch}, Group: group, Prefetch: 8}
		members = append(members, w.subscribe(w.open(), s,
			on(func(batch []brokers.Delivery) {
				order.arrived(i, batch)
				work <- slices.Clone(batch)
			})))
	}
	go settleLate(w, work, order)
	for batch := range slices.Chunk(msgs, 40) {
		w.publish(publisher, batch...)
	}
	got := together(members, "all messages arrive", msgs)
	for _, m := range members {
		_ = m.end()
	}
	w.exactly(got, msgs)
	for _, text := range order.violations() {
		w.Errorf("%s", text)
	}
}

// settleLate settles batches once no other came for a while, so that members hold messages at the same time. It ends
// with the case.
func settleLate(w *world, work <-chan []brokers.Delivery, order *keyWatch) {
	var open [][]brokers.Delivery
	for {
		quiet := time.NewTimer(3 * time.Millisecond)
		select {
		case <-w.ctx.Done():
			return
		case batch := <-work:
			open = append(open, batch)
			continue
		case <-quiet.C:
		}
		for _, batch := range open {
			for i := range batch {
				order.settling(batch[i])
				_ = settle(w.ctx, batch[i:i+1], brokers.Ack, 0)
			}
		}
		open = nil
	}
}

func membersLeave(w *world) {
	ch, group := w.h.Channel(), w.group()
	publisher := w.open()
	leaving := w.subscribe(w.open(), brokers.Subscription{Channels: []string{ch}, Group: group})
	staying := w.subscribe(w.open(), brokers.Subscription{Channels: []string{ch}, Group: group})
	msgs := w.messages(400, ch)
	for i, batch := range slices.Collect(slices.Chunk(msgs, 20)) {
		w.publish(publisher, batch...)
		if i == 10 {
			if err := leaving.end(); err != nil {
				w.Errorf("Subscribe of the member that left returned %v", err)
			}
		}
	}
	w.exactly(together([]*subscriber{leaving, staying}, "all messages arrive", msgs), msgs)
}

func settlingIsForOneGroup(w *world) {
	conn, ch := w.open(), w.h.Channel()
	ours := brokers.Subscription{Channels: []string{ch}, Group: w.group()}
	theirs := brokers.Subscription{Channels: []string{ch}, Group: w.group()}
	m := w.message(ch, "k")
	mine := w.subscribe(conn, ours, unsettled)
	doomed := w.open()
	other := w.subscribe(doomed, theirs, unsettled)
	w.publish(conn, m)
	a := mine.waitFor("the message arrives in one group", m)[0]
	b := other.waitFor("the message arrives in the other group", m)[0]
	_ = a.Settler.Settle(w.ctx, []brokers.Settlement{{Token: b.Token, Verdict: brokers.Ack}}) // may well be an error
	if err := a.Settler.Settle(w.ctx, []brokers.Settlement{{Token: a.Token, Verdict: brokers.Ack}}); err != nil {
		w.Errorf("Settle of one's own delivery: %v", err)
	}
	_ = doomed.Close(w.within(brief))
	next := w.subscribe(w.open(), theirs)
	next.waitFor("the other group still has the message, which it has not settled", m)
}
