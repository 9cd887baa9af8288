package nats_test

import (
	"context"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/internal/drivertest"
)

// What the drivers' tests share.
var (
	open       = drivertest.Open
	eventually = drivertest.Eventually
	message    = drivertest.Message
	messages   = drivertest.Messages
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
