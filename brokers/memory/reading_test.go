package memory_test

import (
	"testing"
	"testing/synctest"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/brokers/memory"
)

// What a bus knows of a body must come with that body, on every channel and on every attempt, and never with another one.
func TestAReadingComesWithTheBodyThatItWasPublishedWith(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := memory.New()
		defer closeAll(t, c)
		if _, ok := c.(brokers.Local); !ok {
			t.Fatal("the connection is no brokers.Local")
		}
		s := subscribe(t, c, brokers.Subscription{Channels: []string{"a", "b"}, Group: "g", MaxBytes: 3})
		for round := range 3 { // entries are used again
			msgs := append(messages("a", "1", "2", "long", "3"), messages("b", "2", "4")...)
			for i := range msgs {
				if body := string(msgs[i].Body); body != "3" {
					msgs[i].Reading = &body
				}
			}
			if err := c.Publish(t.Context(), msgs); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if len(s.got) != len(msgs) {
				t.Fatalf("round %d: %d deliveries", round, len(s.got))
			}
			checkReadings(t, s.got)
			for i := range s.got {
				s.settle(t, i, brokers.Settlement{Verdict: brokers.Redeliver})
			}
			synctest.Wait()
			checkReadings(t, s.got)
			s.got = s.got[len(msgs):]
			s.ackAll(t)
		}
	})
}

func checkReadings(t *testing.T, got []brokers.Delivery) {
	t.Helper()
	for i := range got {
		d := &got[i]
		reading, ok := d.Reading.(*string)
		switch body := string(d.Body); {
		case body == "3" || d.Malformed != "":
			if d.Reading != nil {
				t.Errorf("the body %q has the reading %v", body, d.Reading)
			}
		case !ok || *reading != body:
			t.Errorf("the body %q has the reading %v", body, d.Reading)
		}
	}
}
