package bus_test

import (
	"testing"

	"github.com/eventbus-go/eventbus/brokers"
	_ "github.com/eventbus-go/eventbus/brokers/memory"
	"github.com/eventbus-go/eventbus/bus"
)

// A lonely is a connection on which three messages were kept for nobody.
type lonely struct{ brokers.Conn }

func (lonely) Unroutable() int64 { return 3 }

func TestWhatNobodyReadsIsInTheStatsOfItsBroker(t *testing.T) {
	conn, err := brokers.Open(t.Context(), "memory://")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	b, err := bus.Open(t.Context(), "memory://", bus.WithBroker("rabbit", lonely{conn}))
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close(t.Context())
	for name, st := range b.Stats().Brokers {
		if want := map[string]int64{"rabbit": 3}[name]; st.Unroutable != want {
			t.Errorf("of %s %d messages were unroutable, want %d", name, st.Unroutable, want)
		}
	}
}
