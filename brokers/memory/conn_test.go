package memory_test

import (
	"context"
	"testing"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/brokers/brokertest"
	"github.com/eventbus-go/eventbus/brokers/memory"
)

func TestMemoryKeepsItsPromises(t *testing.T) {
	keep := memory.New(memory.WithName(t.Name())) // the broker lives while a case opens and closes others
	defer keep.Close(t.Context())
	brokertest.Run(t, brokertest.Harness{
		Open: func(ctx context.Context) (brokers.Conn, error) {
			return brokers.Open(ctx, "memory://"+t.Name())
		},
		Server:  brokertest.Server{Scheme: "memory", Version: "in this process", Real: true},
		Carries: brokertest.AllFields,
		Inject: func(channel string, body []byte) error {
			if brokers.CheckChannel(channel) != nil {
				return nil // there is no foreign client that could publish there
			}
			return keep.Publish(t.Context(), []brokers.Message{{Channel: channel, Body: body}})
		},
	})
}
