package brokertest

import (
	"time"

	"github.com/eventbus-go/eventbus/brokers"
)

var churnCases = []Case{
	{
		Name: "members that join and leave all the time lose nothing",
		Explanation: "A rolling deployment, or an autoscaler that cannot make up its mind: nothing is lost, the order of a key " +
			"is kept where it is promised, and next to nothing comes twice.",
		needs: []need{durable, groups},
		waits: true,
		run:   membersComeAndGo,
	},
}

func membersComeAndGo(w *world) {
	publisher, ch := w.open(), w.h.Channel()
	s := brokers.Subscription{Channels: []string{ch}, Group: w.group(), Prefetch: 64}
	msgs := w.messages(sized(20_000, 2_000), ch, "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k")
	y := newTally(msgs)
	period, changes := w.h.Churn, sized(9, 3)
	if period == 0 {
		period = 2 * time.Second
	}
	if !inFull() {
		period = min(period, time.Second)
	}
	handle := func(d brokers.Delivery) brokers.Settlement {
		y.take(d)
		return brokers.Settlement{Token: d.Token, Verdict: brokers.Ack}
	}
	type member struct {
		conn brokers.Conn
		sub  *subscriber
	}
	join := func() member {
		conn := w.open()
		return member{conn, w.subscribe(conn, s, w.crew(4, handle).take)}
	}
	members := []member{join(), join(), join()}
	sent := make(chan error, 1)
	pace := time.Duration(changes) * period / time.Duration(len(msgs)/sized(500, 100)+1)
	go func() {
		sent <- resend(w.ctx, publisher, y, msgs, func(int) { w.rest(pace) })
	}()
	for range changes {
		w.rest(period)
		leaving := members[0]
		members = append(members[1:], join())
		if err := leaving.sub.end(); err != nil {
			w.Errorf("Subscribe of a member that left returned %v", err)
		}
		if err := leaving.conn.Close(w.within(w.h.Patience)); err != nil {
			w.Errorf("Close of a member that left: %v", err)
		}
	}
	if err := <-sent; err != nil {
		w.Fatalf("Publish: %v", err)
	}
	y.waitAll(w, "everything arrives although members come and go")
	w.rest(brief)
	// A short run is beside others: where the machine rests for longer than a lease, what each member had comes again.
	y.judge(w, sized(len(msgs)/200, len(members)*s.Prefetch)+y.unknown) // nobody publishes any more
	w.figure("3 members, one leaves and one joins every %v, %d times: %d messages, 0 lost, %s", period, changes, len(msgs),
		y.twice())
}
