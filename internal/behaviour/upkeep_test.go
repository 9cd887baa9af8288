package behaviour

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/schema"
	"github.com/eventbus-go/eventbus/store/deadletter"
)

// workedOn is what somebody does with the dead letters of a morning: there are two causes, the larger one is looked at by its
// fingerprint, and redriven once it is mended; of the other one an event is corrected, and the rest is thrown away.
func workedOn(p *place) func(t *testing.T) {
	const declined, without = 5, 2
	var mend atomic.Bool
	d := &diary{}
	s := p.subscription("mine", func(ctx context.Context, e schema.Event) error {
		var data struct{ Card, Name string }
		switch err := json.Unmarshal(e.Data, &data); {
		case err != nil || data.Name == "":
			return bus.Permanent(errors.New("there is no name"))
		case !mend.Load():
			return bus.Permanent(fmt.Errorf("card %s declined", data.Card))
		}
		return d.handle(ctx, e)
	})
	sub := p.subscribe(s)
	return func(t *testing.T) {
		for i := range declined + without {
			e := p.event(strconv.Itoa(i))
			e.Data = fmt.Appendf(nil, `{"card":"%d","name":"n"}`, i)
			if i >= declined {
				e.Data = fmt.Appendf(nil, `{"card":"%d"}`, i)
			}
			p.emit(t, e)
		}
		eventually(t, "all have failed", func() bool { return sub.Stats().DeadLettered == declined+without })
		p.written(t)
		store, mine := p.bus.DeadLetters(), deadletter.Query{Subscriptions: []string{p.name("mine")}}
		groups, err := deadletter.Groups(t.Context(), store, mine)
		if err != nil || len(groups) != 2 || groups[0].Count != declined || groups[1].Count != without {
			t.Fatalf("the groups are %+v, %v", groups, err)
		}
		larger := deadletter.RedriveOptions{Query: mine, DryRun: true, Rate: 1000}
		larger.Query.Fingerprints = []string{groups[0].Fingerprint}
		r, err := deadletter.Redrive(t.Context(), store, p.bus.ToSubscription, larger)
		if left := len(p.letters(t, "mine")); err != nil || r.Sent != declined || left != declined+without || d.len() != 0 {
			t.Errorf("a dry run says %+v, %v; it leaves %d, and %d are handled", r, err, left, d.len())
		}
		mend.Store(true)
		larger.DryRun = false
		r, err = deadletter.Redrive(t.Context(), store, p.bus.ToSubscription, larger)
		if left := len(p.letters(t, "mine")); err != nil || r.Sent != declined || left != without || d.len() != declined {
			t.Errorf("the redrive says %+v, %v; it leaves %d, and %d are handled", r, err, left, d.len())
		}
		p.correct(t, groups[1].Example)
		eventually(t, "the corrected one is handled", func() bool { return d.len() == declined+1 })
		if n := d.count(groups[1].Example.EventID); n != 0 {
			t.Errorf("the corrected event has the id of the old one")
		}
		if n, err := deadletter.Purge(t.Context(), store, mine); n != without-1 || err != nil || len(p.letters(t, "mine")) != 0 {
			t.Errorf("purged were %d, %v", n, err)
		}
	}
}

// correct publishes a corrected copy of a dead letter's event, and removes the letter.
func (p *place) correct(t *testing.T, l deadletter.Letter) {
	t.Helper()
	e, err := bus.EditLetter(l, func(e *schema.Event) error { e.Data = []byte(`{"card":"1","name":"n"}`); return nil })
	if err != nil {
		t.Fatal(err)
	}
	if from := e.Metadata.Text(bus.EditedFrom); e.ID == l.EventID || from != l.EventID {
		t.Errorf("the copy has the id %q and names %q; the old one has %q", e.ID, from, l.EventID)
	}
	p.emit(t, e)
	n, err := deadletter.Purge(t.Context(), p.bus.DeadLetters(), deadletter.Query{IDs: []string{l.ID}})
	if n != 1 || err != nil {
		t.Errorf("removed were %d, %v", n, err)
	}
}
