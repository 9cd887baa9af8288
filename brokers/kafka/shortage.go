package kafka

import (
	"errors"
	"fmt"
	"time"

	kafkago "github.com/segmentio/kafka-go"
)

// A shortage is a time in which topics cannot be created because the cluster has fewer brokers than they want replicas.
//
// Suppose a service and its cluster of three start together: until all three have registered, the cluster answers as one does that
// will only ever have two.
type shortage struct {
	since   time.Time // zero for none
	brokers int       // the most that there were in it
}

// A tooFew is the error of a topic that cannot be created yet, for as long as other brokers may come.
type tooFew struct{ error }

func (e tooFew) Unwrap() error { return e.error }

// judge says of what a topic's creation ended with whether waiting may help: startup_timeout after the last broker came, there
// are as many as there will be.
func (k *cluster) judge(err error) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !errors.Is(err, kafkago.InvalidReplicationFactor) {
		if err == nil {
			k.few = shortage{}
		}
		return err
	}
	now, limit := time.Now(), k.c.set.startup
	if k.few.since.IsZero() || k.brokers > k.few.brokers {
		k.few = shortage{now, k.brokers}
	}
	want := "its own default.replication.factor"
	if n := k.c.set.replication; n > 0 {
		want = fmt.Sprintf("replication=%d", n)
	}
	if now.Sub(k.few.since) < limit {
		return tooFew{fmt.Errorf("the cluster has %d brokers yet, too few for %s: %w", k.brokers, want, err)}
	}
	return fmt.Errorf("the cluster has %d brokers, too few for %s, and no other has come for %v (startup_timeout): %w",
		k.brokers, want, limit, err)
}
