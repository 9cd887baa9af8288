package kafka_test

import (
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// What one replica has is lost with it: each batch is confirmed by all of those that are in sync.
func TestABatchIsConfirmedByAllReplicas(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	var batches, careless atomic.Int32
	cluster.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		batches.Add(1)
		if req.(*kmsg.ProduceRequest).Acks != -1 {
			careless.Add(1)
		}
		return nil, nil, false
	})
	c := openURL(t, "kafka://"+cluster.ListenAddrs()[0]+quick)
	if err := publish(t.Context(), c, numbered("acks.a", 100, 7)...); err != nil {
		t.Fatal(err)
	}
	if batches.Load() == 0 || careless.Load() > 0 {
		t.Errorf("%d of %d requests ask for less than all replicas", careless.Load(), batches.Load())
	}
}
