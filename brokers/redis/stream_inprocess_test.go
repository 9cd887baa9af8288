package redis_test

import (
	"testing"

	"github.com/eventbus-go/eventbus/brokers/brokertest"
	"github.com/eventbus-go/eventbus/internal/testbroker"
)

// Where no server is installed this is what is left of the promises: a server in the process knows the commands, and
// cannot be killed or frozen.
func TestTheStreamDriverKeepsItsPromisesOnAServerInTheProcess(t *testing.T) {
	server, err := testbroker.Start(t.Context(), testbroker.RedisOptions{InProcess: true, Name: t.Name()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Stop() })
	h := streamHarness(t, server, "?lease=3s")
	h.Kill, h.Restart = nil, nil
	brokertest.Run(t, h)
}
