package nats

import (
	"testing"

	"github.com/eventbus-go/eventbus/internal/overflow"
)

// Suppose the connection is lost and the subscription's context ends before the receiver has looked: the outage is one all the same.
func TestAnOutageIsNotedWhicheverEndIsSeenFirst(t *testing.T) {
	s := &session{over: make(chan struct{}), wire: &wire{}, err: errSessionOver}
	r := &receiver{queue: overflow.New(overflow.Limits{Messages: 1, Bytes: 1}, bodySize)}
	r.end(s, nil, &dropCounter{})
	if r.lost.err != nil {
		t.Errorf("an outage of a session that lives: %v", r.lost.err)
	}
	close(s.over)
	r.end(s, nil, &dropCounter{})
	if r.lost.err == nil {
		t.Error("no outage although the session is over")
	}
}
