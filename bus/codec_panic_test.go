package bus_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/eventbus-go/eventbus/bus"
	"github.com/eventbus-go/eventbus/schema"
)

// fragile is a payload whose own methods panic.
type fragile struct{ N int }

func (f fragile) MarshalJSON() ([]byte, error) {
	if f.N == 0 {
		panic("in MarshalJSON")
	}
	return json.Marshal(map[string]int{"n": f.N})
}

func (f *fragile) UnmarshalJSON([]byte) error { panic("in UnmarshalJSON") }

func TestAPanicInAPayloadsOwnMethodsIsContainedCountedAndLoggedOnce(t *testing.T) {
	cat := schema.NewCatalogue("tests")
	typ, err := schema.Define(cat, schema.Definition[fragile]{Type: "a.fragile"})
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	sub := w.subscribe(bus.Subscription{Name: "s", Handlers: []bus.TypedHandler{
		bus.On(typ, func(context.Context, schema.Event, fragile) error {
			t.Error("a handler was called with a payload that did not decode")
			return nil
		}),
	}})
	w.run()
	for range 5 {
		if err := w.Emit(t.Context(), typ.New(fragile{})); err == nil || !strings.Contains(err.Error(), "in MarshalJSON") {
			t.Errorf("Emit of a payload that panics returned %v", err)
		}
		w.emit(typ.New(fragile{N: 1}))
	}
	w.until("everything settled", func() bool { return sub.Stats().Failed == 5 })
	w.close()
	if st := w.Stats(); st.Panics != 5 || st.Refused != 5 || sub.Stats().Panics != 5 || sub.Stats().Retries != 0 {
		t.Errorf("5 panics of each method: %+v, %+v", st, sub.Stats())
	}
	if n := strings.Count(w.log.String(), " stack="); n != 2 {
		t.Errorf("%d stacks were logged, want one of each method:\n%s", n, w.log)
	}
}
