package bus

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/schema"
)

// A scriptedConn answers each call of Publish by the next line of its script, and takes everything when the script is over.
// What real brokers answer is tested with real brokers; here it is what the sender makes of each answer.
type scriptedConn struct {
	durable   bool
	permanent bool // no error goes away by itself
	script    []func(ctx context.Context, msgs []brokers.Message) error
	calls     [][]string // what was sent, as id@channel
}

func (c *scriptedConn) Capabilities() brokers.Capabilities {
	return brokers.Capabilities{Durable: c.durable}
}

func (c *scriptedConn) Publish(ctx context.Context, msgs []brokers.Message) error {
	var call []string
	for _, m := range msgs {
		call = append(call, m.ID+"@"+m.Channel)
	}
	c.calls = append(c.calls, call)
	if len(c.script) == 0 {
		return nil
	}
	answer := c.script[0]
	c.script = c.script[1:]
	return answer(ctx, msgs)
}

func (c *scriptedConn) Subscribe(context.Context, brokers.Subscription, brokers.Sink) error {
	return errors.ErrUnsupported
}
func (c *scriptedConn) Retryable(error) bool        { return !c.permanent }
func (c *scriptedConn) Close(context.Context) error { return nil }

var errBroken = errors.New("broken pipe")

func failing(indices []int, o brokers.Outcome) func(context.Context, []brokers.Message) error {
	return func(context.Context, []brokers.Message) error {
		e := &brokers.BatchError{}
		for _, i := range indices {
			e.Failed = append(e.Failed, brokers.MessageError{Index: i, Outcome: o, Err: errBroken})
		}
		return e
	}
}

// late answers as failing does, when the time of the call is over.
func late(indices []int, o brokers.Outcome) func(context.Context, []brokers.Message) error {
	return func(ctx context.Context, msgs []brokers.Message) error {
		<-ctx.Done()
		return failing(indices, o)(ctx, msgs)
	}
}

func panicking(context.Context, []brokers.Message) error { panic("driver bug") }

// sendOne queues one event on the channels a, b and c, has it sent, and returns what its caller and the ledger are told.
func sendOne(t *testing.T, conn *scriptedConn) error {
	l := newLane(LaneConfig{MaxEvents: 10, MaxBytes: 1000, SendTimeout: time.Second}, defaultBatch, func(DropReason, *entry, []string, error) {})
	s := &sender{lane: l, conn: conn, durable: conn.durable, panics: func(string, any) {}, abandon: t.Context()}
	p := &packer{packed: []packed{{id: "1", typ: "t", key: "k", channels: []string{"a", "b", "c"}, priority: schema.Normal}}}
	c := newCall(p.setSlots())
	if err := l.publish(t.Context(), nil, &p.packed[0], []byte("body"), c, 0); err != nil {
		t.Fatal(err)
	}
	l.close()
	s.run()
	<-c.done
	led := l.snapshot()
	if !led.Balanced() || led.Queued != 0 || l.events != 0 || l.bytes != 0 {
		t.Errorf("after everything was sent: %+v, %d events, %d bytes", led, l.events, l.bytes)
	}
	return c.result(p, []*outlet{{link: &link{}}}, nil)
}

func states(err error) string {
	var pe *PublishError
	if !errors.As(err, &pe) {
		return fmt.Sprint(err)
	}
	s := ""
	for _, o := range pe.Outcomes {
		s += o.Channel + ":" + o.State.String() + " "
	}
	return s
}

func TestWhatTheSenderMakesOfEachAnswer(t *testing.T) {
	type script = []func(context.Context, []brokers.Message) error
	for _, test := range []struct {
		name      string
		durable   bool
		permanent bool
		script    script
		calls     string
		outcome   string
	}{
		{name: "everything taken", calls: "[[1@a 1@b 1@c]]", outcome: "<nil>"},
		{name: "what was not sent is sent again, and only that",
			script: script{failing([]int{1}, brokers.NotSent)}, calls: "[[1@a 1@b 1@c] [1@b]]", outcome: "<nil>"},
		{name: "as often as it takes",
			script: script{failing([]int{0, 1, 2}, brokers.NotSent), failing([]int{0, 2}, brokers.NotSent), failing([]int{1}, brokers.NotSent)},
			calls:  "[[1@a 1@b 1@c] [1@a 1@b 1@c] [1@a 1@c] [1@c]]", outcome: "<nil>"},
		{name: "what waiting does not cure is told to who waits", permanent: true,
			script: script{failing([]int{0}, brokers.NotSent)}, calls: "[[1@a 1@b 1@c]]",
			outcome: "a:not_sent b:confirmed c:confirmed "},
		{name: "also where the driver took all the time there was",
			script: script{late([]int{0, 2}, brokers.NotSent), late([]int{1}, brokers.NotSent)},
			calls:  "[[1@a 1@b 1@c] [1@a 1@c] [1@c]]", outcome: "<nil>"},
		{name: "unknown is given up where the broker forgets",
			script: script{failing([]int{1, 2}, brokers.Unknown)}, calls: "[[1@a 1@b 1@c]]",
			outcome: "a:confirmed b:unknown c:unknown "},
		{name: "unknown is sent again where the broker is durable", durable: true,
			script: script{failing([]int{1, 2}, brokers.Unknown)}, calls: "[[1@a 1@b 1@c] [1@b 1@c]]", outcome: "<nil>"},
		{name: "rejected is never sent again", durable: true,
			script: script{failing([]int{2}, brokers.Rejected)}, calls: "[[1@a 1@b 1@c]]",
			outcome: "a:confirmed b:confirmed c:rejected "},
		{name: "an error that says nothing of the messages leaves all unknown",
			script: script{func(context.Context, []brokers.Message) error { return errBroken }}, calls: "[[1@a 1@b 1@c]]",
			outcome: "a:unknown b:unknown c:unknown "},
		{name: "a panic of the driver too", script: script{panicking}, calls: "[[1@a 1@b 1@c]]",
			outcome: "a:unknown b:unknown c:unknown "},
		{name: "a driver that names messages it was not given is not believed",
			script: script{failing([]int{-1, 1, 1, 7}, brokers.Rejected)}, calls: "[[1@a 1@b 1@c]]",
			outcome: "a:confirmed b:rejected c:confirmed "},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				conn := &scriptedConn{durable: test.durable, permanent: test.permanent, script: test.script}
				err := sendOne(t, conn)
				if got := fmt.Sprint(conn.calls); got != test.calls {
					t.Errorf("sent %s, want %s", got, test.calls)
				}
				if got := states(err); got != test.outcome {
					t.Errorf("the caller was told %s, want %s", got, test.outcome)
				}
			})
		})
	}
}

func TestAfterAnUnknownOutcomeTheNextBatchIsASingleEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := &scriptedConn{script: []func(context.Context, []brokers.Message) error{
			func(context.Context, []brokers.Message) error { return errBroken },
			func(context.Context, []brokers.Message) error { return errBroken },
		}}
		l := newLane(LaneConfig{MaxEvents: 1 << 16, MaxBytes: 1 << 20, SendTimeout: time.Second}, defaultBatch,
			func(DropReason, *entry, []string, error) {})
		for range 2000 {
			if err := l.emit(t.Context(), &packed{id: "1", channels: []string{"a"}}, []byte("x")); err != nil {
				t.Fatal(err)
			}
		}
		l.close()
		(&sender{lane: l, conn: conn, panics: func(string, any) {}, abandon: t.Context()}).run()
		var sizes []int
		for _, call := range conn.calls {
			sizes = append(sizes, len(call))
		}
		if fmt.Sprint(sizes) != "[1024 1 1 974]" {
			t.Errorf("batches of %v messages: after an unknown outcome the broker is probed with one", sizes)
		}
		if led := l.snapshot(); led.Dropped[DropUnconfirmed] != 1025 || led.Confirmed != 975 || !led.Balanced() {
			t.Errorf("the ledger says %+v", led)
		}
	})
}

func TestACallThatEndsWhileTheBrokerIsDownIsNotSentLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := failing([]int{0, 1, 2, 3}, brokers.NotSent)
		conn := &scriptedConn{script: []func(context.Context, []brokers.Message) error{down, down, down, down, down, down}}
		l := newLane(LaneConfig{MaxEvents: 10, MaxBytes: 1000, SendTimeout: time.Second}, defaultBatch, func(DropReason, *entry, []string, error) {})
		p := &packer{packed: []packed{{id: "1", channels: []string{"a", "b", "c"}}}}
		c := newCall(p.setSlots())
		if err := l.publish(t.Context(), nil, &p.packed[0], []byte("body"), c, 0); err != nil {
			t.Fatal(err)
		}
		if err := l.emit(t.Context(), &packed{id: "2", channels: []string{"a"}}, []byte("body")); err != nil {
			t.Fatal(err)
		}
		l.close()
		done := make(chan struct{})
		go func() {
			defer close(done)
			(&sender{lane: l, conn: conn, panics: func(string, any) {}, abandon: t.Context()}).run()
		}()
		synctest.Wait()
		c.giveUp(context.DeadlineExceeded)
		l.cancel(c)
		if got := states(c.result(p, []*outlet{{link: &link{}}}, nil)); got != "a:not_sent b:not_sent c:not_sent " {
			t.Errorf("at its deadline the caller was told %s", got)
		}
		<-done
		for _, call := range conn.calls[1:] {
			if fmt.Sprint(call) != "[2@a]" {
				t.Errorf("%s was sent after its caller had been told that it was not", call)
			}
		}
		led := l.snapshot()
		if led.Dropped[DropCanceled] != 3 || led.Confirmed != 1 || !led.Balanced() || l.events != 0 || l.bytes != 0 {
			t.Errorf("%+v, %d events, %d bytes", led, l.events, l.bytes)
		}
	})
}

func TestAnUnreachableBrokerIsTriedAgainAtLeastEverySecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := failing([]int{0, 1, 2}, brokers.NotSent)
		conn := &scriptedConn{}
		for range 60 {
			conn.script = append(conn.script, down)
		}
		start := time.Now()
		if err := sendOne(t, conn); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took > 60*time.Second || took < time.Second {
			t.Errorf("60 attempts took %v", took)
		}
	})
}
