package rabbitmq_test

import (
	"context"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/internal/drivertest"
)

// What the drivers' tests share.
var (
	open       = drivertest.Open
	eventually = drivertest.Eventually
	message    = drivertest.Message
	subscribe  = drivertest.Subscribe
)

// A recorder is a sink that keeps what it sees, in order, and settles it.
type recorder struct{ *drivertest.Recorder }

func newRecorder() *recorder {
	return &recorder{drivertest.NewRecorder(context.Background())}
}

func (r *recorder) deliveries() []brokers.Delivery { return r.Deliveries() }
func (r *recorder) gaps() []brokers.Gap            { return r.Gaps() }
func (r *recorder) has(body string) bool           { return r.Has(body) }

// A failing asks for each delivery once more, after a while, and acks it then.
type failing struct {
	*recorder
	after time.Duration
	seen  map[string]bool
}

func (r *failing) Deliver(batch []brokers.Delivery) {
	if r.seen == nil {
		r.seen = make(map[string]bool)
	}
	for _, d := range batch {
		verdict := brokers.Redeliver
		if r.seen[d.ID] {
			verdict = brokers.Ack
		}
		r.seen[d.ID] = true
		_ = d.Settler.Settle(context.Background(), []brokers.Settlement{{Token: d.Token, Verdict: verdict, After: r.after}})
	}
	r.SettleNothing()
	r.recorder.Deliver(batch)
}
