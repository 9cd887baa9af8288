package behaviour

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/eventbus-go/eventbus/router"
	"github.com/eventbus-go/eventbus/schema"
)

// drained closes the bus while handlers run, which end only after the bus has begun to shut down, and then reads on with a second bus.
func drained(p *place) func(t *testing.T) {
	const running = 20
	begun := make(chan struct{}, running)
	s := p.subscription("s", func(ctx context.Context, _ schema.Event) error {
		begun <- struct{}{}
		<-router.Draining(ctx)
		return ctx.Err()
	})
	s.Concurrency = running
	sub := p.subscribe(s)
	return func(t *testing.T) {
		for i := range running {
			p.emit(t, p.event(strconv.Itoa(i)))
		}
		for range running {
			select {
			case <-begun:
			case <-time.After(patience):
				t.Fatalf("not all have begun: %+v", sub.Stats())
			}
		}
		p.end(t, p.bus.Close)
		if st := sub.Stats(); st.Handled != running || st.Failed+st.DeadLettered+st.Redelivered+st.InFlight != 0 || !st.Balanced() {
			t.Errorf("the books say %+v", st)
		}
		for name, st := range p.bus.Stats().Subscriptions {
			if !st.Balanced() {
				t.Errorf("the books of %s do not balance: %+v", name, st)
			}
		}
		p.readOn(t)
	}
}

// readOn is the next process of the group, which gets what is published now and nothing of before.
func (p *place) readOn(t *testing.T) {
	d := &diary{}
	b := p.open(t)
	if _, err := b.Subscribe(p.subscription("s", d.handle)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := b.Start(ctx); err != nil {
		t.Fatal(err)
	}
	marks := 0
	for ; marks < 16; marks++ { // of several keys, since each partition has its own place
		if err := b.Publish(ctx, p.event("mark"+strconv.Itoa(marks))); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "what is published now is handled", func() bool { return d.len() >= marks })
	for i := range 20 {
		if n := d.count(p.event(strconv.Itoa(i)).ID); n != 0 {
			t.Errorf("event %d was handled, and came again", i)
		}
	}
}
