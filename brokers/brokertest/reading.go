package brokertest

import (
	"slices"

	"github.com/eventbus-go/eventbus/brokers"
)

var readingCases = []Case{
	{
		Name: "a reading comes with the body that it was published with, or not at all",
		Explanation: "The bus believes what it knows of a body, and does not decode it again: with the reading of another one a " +
			"handler is given another event. Only a brokers.Local may deliver one, since nobody has changed the body on its way.",
		run: readingsStay,
	},
}

func readingsStay(w *world) {
	conn, ch := w.open(), w.h.Channel()
	_, local := conn.(brokers.Local)
	subs := []*subscriber{
		w.subscribe(conn, brokers.Subscription{Channels: []string{ch}}),
		w.subscribe(w.open(), brokers.Subscription{Channels: []string{ch}}),
	}
	msgs := w.messages(300, ch, "a", "b", "c")
	for i := range msgs {
		if body := string(msgs[i].Body); i%4 != 0 {
			msgs[i].Reading = &body
		}
	}
	for batch := range slices.Chunk(msgs, 60) {
		w.publish(conn, batch...)
	}
	for _, sub := range subs {
		for _, a := range sub.waitFor("all messages arrive", msgs...) {
			w.readingOf(a.Delivery, local)
		}
	}
}

// readingOf holds a delivery's reading, which says what body it is of, against its body.
func (w *world) readingOf(d brokers.Delivery, local bool) {
	w.Helper()
	of, ok := d.Reading.(*string)
	switch {
	case d.Reading == nil:
	case !local:
		w.Errorf("a connection that is no brokers.Local delivers a reading with %s", show(d.Message))
	case !ok || *of != string(d.Body):
		w.Errorf("the body %s comes with the reading of another one", d.Body)
	}
}
