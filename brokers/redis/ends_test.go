package redis

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
)

// Suppose Publish gives up at the very moment when the outcome of a pipeline is noted: each message is marked once.
func TestAPublicationThatIsAbandonedMarksEachMessageOnce(t *testing.T) {
	p := &publication{newCommand: newPublish}
	p.begin(t.Context(), make([]brokers.Message, 3))
	p.prepare(2)
	p.begun.Store(2)
	for _, cmd := range p.commands {
		cmd.SetErr(io.EOF)
	}
	if err := p.outcomes(0, 2, io.EOF); err == nil {
		t.Error("the next pipeline would follow")
	}
	var batch *brokers.BatchError
	if err := p.abandon(context.Canceled); !errors.As(err, &batch) || len(batch.Failed) != 3 {
		t.Fatalf("%+v", err)
	}
	for i, want := range []brokers.Outcome{brokers.Unknown, brokers.Unknown, brokers.NotSent} {
		if f := batch.Failed[i]; f.Index != i || f.Outcome != want {
			t.Errorf("%+v, wants %v of message %d", f, want, i)
		}
	}
}

// The first reply is that to CLIENT SETNAME. Suppose it were taken for one to a PING that is on its way already: all that was
// published before that PING would be said to have been received.
func TestTheReplyToTheNameIsNoneToAPing(t *testing.T) {
	asked := time.Now()
	s := &session{plan: &plan{literals: []string{"a"}}, name: "n", pings: make(chan time.Time, 1), listener: deaf{}}
	s.pings <- asked.Add(time.Minute)
	s.complete = asked
	s.replies = newPushReader(strings.NewReader("+OK\r\n*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n*2\r\n$4\r\npong\r\n$0\r\n\r\n"), 0)
	if err := s.confirm(); err != nil || s.complete != asked || !s.confirmed {
		t.Errorf("all is said to be received up to %v after the start: %v", s.complete.Sub(asked), err)
	}
	if err := s.receive(); err != nil || s.complete != asked.Add(time.Minute) {
		t.Errorf("after the reply to the PING it is up to %v: %v", s.complete.Sub(asked), err)
	}
}

// deaf is a listener that nobody asks.
type deaf struct{}

func (deaf) ready()          {}
func (deaf) receive(message) {}
func (deaf) idle()           {}

func TestTheTimeThatThisProcessStoodStillIsNoSilence(t *testing.T) {
	start := time.Now()
	at := func(seconds int) time.Time { return start.Add(time.Duration(seconds) * time.Second) }
	q := quiet{interval: 10 * time.Second}
	for _, step := range []struct{ due, now, lastByte, want int }{
		{10, 10, 9, 1},
		{20, 21, 9, 12},     // a little late
		{30, 100, 9, 0},     // it stood still
		{110, 110, 9, 10},   // nothing has come since
		{120, 120, 9, 20},   // nor now
		{130, 131, 105, 26}, // something had
	} {
		q.due = at(step.due)
		if got := q.since(at(step.lastByte), at(step.now)); got != time.Duration(step.want)*time.Second {
			t.Errorf("at %d, when %d was due, it is silent for %v, wants %d s", step.now, step.due, got, step.want)
		}
	}
}
