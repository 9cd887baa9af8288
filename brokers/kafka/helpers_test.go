package kafka_test

import (
	"context"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/eventbus-go/eventbus/brokers"
)

// A recorder is a sink that notes the ids of what it gets and acks it: at once, or, where work is set, in a goroutine of
// its own after that time, one message of the batch after the other.
type recorder struct {
	ready chan struct{}
	keep  func(brokers.Delivery) bool // what is never settled
	work  time.Duration
	gate  <-chan struct{} // what it settles waits until it is closed; nil for nothing
	next  *recorder       // notes them instead, for several members

	mu  sync.Mutex
	got []brokers.Delivery
}

func (r *recorder) Ready()          { close(r.ready) }
func (r *recorder) Gap(brokers.Gap) {}

func (r *recorder) Deliver(batch []brokers.Delivery) {
	batch = append([]brokers.Delivery(nil), batch...)
	to := r
	if r.next != nil {
		to = r.next
	}
	to.mu.Lock()
	to.got = append(to.got, batch...)
	to.mu.Unlock()
	if r.gate != nil {
		<-r.gate
	}
	if r.work == 0 {
		r.settle(batch)
		return
	}
	go func() {
		time.Sleep(r.work)
		r.settle(batch)
	}()
}

func (r *recorder) settle(batch []brokers.Delivery) {
	for _, d := range batch {
		if r.keep == nil || !r.keep(d) {
			_ = d.Settler.Settle(context.Background(), []brokers.Settlement{{Token: d.Token}})
		}
	}
}

func (r *recorder) ids() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]string, len(r.got))
	for i, d := range r.got {
		out[i] = d.ID
	}
	return out
}

func (r *recorder) distinct() int {
	seen := make(map[string]bool)
	for _, id := range r.ids() {
		seen[id] = true
	}
	return len(seen)
}

// checkOrder fails unless the first deliveries of each key's messages came in order.
func (r *recorder) checkOrder(t *testing.T) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	seen, last := make(map[string]bool), make(map[string]string)
	for _, d := range r.got {
		if seen[d.ID] {
			continue
		}
		seen[d.ID] = true
		if last[d.Key] > d.ID {
			t.Errorf("of %s, %s came after %s", d.Key, d.ID, last[d.Key])
			return
		}
		last[d.Key] = d.ID
	}
}

// eventually waits until ok returns true.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	began := time.Now()
	deadline := began.Add(patience)
	for ; !ok(); began = time.Now() {
		if time.Now().After(deadline) {
			t.Fatalf("not after %v: %s", patience, what)
		}
		// Looking at thousands of deliveries takes as long as receiving some, and must not be in its way.
		<-time.After(max(10*time.Millisecond, 4*time.Since(began)))
	}
}

func isDone(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func writeFile(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// fakeCluster starts a cluster of one broker in this process, for a test that has something to say about its requests.
func fakeCluster(t *testing.T) *kfake.Cluster {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	return cluster
}
