package bus

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/schema"
)

// These tests are about several things that come true at once, of which a select would choose one at random. Each is tried so often
// that a choice shows.
const tries = 200

func over(cause error) context.Context {
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(cause)
	return ctx
}

func TestStartTellsWhyItEndedBeforeAllElseAndThatItIsReadyBeforeTheEndOfItsContext(t *testing.T) {
	refused := errors.New("no permission")
	for range tries {
		b := &Bus{ready: make(chan struct{}), isClosing: true}
		ended := make(chan error, 1)
		if err := b.started(over(context.Canceled), ended); !errors.Is(err, context.Canceled) {
			t.Fatalf("its context has ended: %v", err)
		}
		close(b.ready)
		if err := b.started(over(context.Canceled), ended); err != nil {
			t.Fatalf("it is ready: %v", err)
		}
		ended <- refused
		if err := b.started(over(context.Canceled), ended); !errors.Is(err, refused) {
			t.Fatalf("it has ended: %v", err)
		}
	}
}

func TestASecondCloseReturnsWhatTheFirstReturnedAlsoWhereItsContextHasEnded(t *testing.T) {
	b := &Bus{isClosing: true, done: make(chan struct{}), closeErr: errors.New("of the first")}
	if err := b.Close(over(context.Canceled)); !errors.Is(err, context.Canceled) {
		t.Errorf("while the first one is at it: %v", err)
	}
	close(b.done)
	for range tries {
		if err := b.Close(over(context.Canceled)); !errors.Is(err, b.closeErr) {
			t.Fatalf("got %v", err)
		}
	}
}

func TestALetterThatWasHandledIsSaidToBeAlsoWhereTheContextHasEnded(t *testing.T) {
	for range tries {
		r := &returned{left: make(chan error, 3)}
		r.left <- nil
		r.left <- nil
		if err := r.await(over(context.Canceled), 2); err != nil {
			t.Fatalf("both were handled: %v", err)
		}
		r.left <- nil
		if err := r.await(over(context.Canceled), 2); !errors.Is(err, context.Canceled) {
			t.Fatalf("one was handled: %v", err)
		}
	}
}

// Suppose two callers give up at once: the one that comes first takes back what both have in the batch that waits.
func TestEachCallerIsToldItsOwnReasonWhoeverTakesItsMessagesBack(t *testing.T) {
	l := newLane(LaneConfig{MaxEvents: 10, MaxBytes: 1000}, defaultBatch, func(DropReason, *entry, []string, error) {})
	var packers []*packer
	var calls []*call
	for _, id := range []string{"1", "2"} {
		p := &packer{packed: []packed{{id: id, channels: []string{"a"}, priority: schema.Normal}}}
		c := newCall(p.setSlots())
		if err := l.publish(t.Context(), nil, &p.packed[0], []byte("body"), c, 0); err != nil {
			t.Fatal(err)
		}
		packers, calls = append(packers, p), append(calls, c)
	}
	b := &batch{}
	l.take(b, 10)
	l.rest(b)
	causes := []error{context.Canceled, errPublishTimeout}
	for i, c := range calls {
		c.giveUp(causes[i])
	}
	l.cancel(calls[1])
	for i, c := range calls {
		err := c.result(packers[i], []*outlet{{link: &link{}}}, errors.New("still on its way"))
		if !errors.Is(err, causes[i]) || errors.Is(err, causes[1-i]) {
			t.Errorf("call %d gave up for %v, and is told %v", i, causes[i], err)
		}
	}
}

func TestACallerThatGivesUpWhileItsMessageIsRefusedIsToldBoth(t *testing.T) {
	p := &packer{packed: []packed{{id: "1", channels: []string{"a"}, priority: schema.Normal}}}
	c := newCall(p.setSlots())
	conn := &scriptedConn{script: []func(context.Context, []brokers.Message) error{
		func(ctx context.Context, msgs []brokers.Message) error {
			c.giveUp(errPublishTimeout)
			return failing([]int{0}, brokers.NotSent)(ctx, msgs)
		},
	}}
	l := newLane(LaneConfig{MaxEvents: 10, MaxBytes: 1000, SendTimeout: time.Minute}, defaultBatch, func(DropReason, *entry, []string, error) {})
	if err := l.publish(t.Context(), nil, &p.packed[0], []byte("body"), c, 0); err != nil {
		t.Fatal(err)
	}
	l.close()
	(&sender{lane: l, conn: conn, panics: func(string, any) {}, abandon: t.Context()}).run()
	err := c.result(p, []*outlet{{link: &link{}}}, errPublishTimeout)
	if got := states(err); got != "a:not_sent " || !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, errBroken) {
		t.Errorf("it was told %s: %v", got, err)
	}
}

func TestNoBatchBeginsOnceTheDeadlineOfAShutdownHasPassed(t *testing.T) {
	for range tries {
		b := &batcher{
			c: &consumer{}, turn: make(chan struct{}, 1), config: BatchConfig{}.orDefaults(),
			handler: func(context.Context, []schema.Event) []error { t.Error("it began"); return nil },
		}
		batch, i := b.join(schema.Event{})
		b.lead(over(context.Canceled), batch)
		if err := batch.errs[i]; !errors.Is(err, context.Canceled) || len(b.turn) > 0 || b.forming != nil {
			t.Fatalf("its event has %v, %d turns are taken", err, len(b.turn))
		}
	}
}

// A hook that is slow has its time where Close has some, and one that blocks does not hold it up for ever.
func TestCloseWaitsForTheReportsAsLongAsItHasTime(t *testing.T) {
	for name, tt := range map[string]struct {
		hook    time.Duration
		ctx     func(t *testing.T) context.Context
		offered int64
		took    time.Duration
	}{
		"slow":                        {time.Second, (*testing.T).Context, 3, 3 * time.Second},
		"slow, and no time is left":   {time.Second, func(*testing.T) context.Context { return over(context.Canceled) }, 0, obeyGrace},
		"it blocks":                   {time.Hour, (*testing.T).Context, 0, reportGrace},
		"it blocks, and no time left": {time.Hour, func(*testing.T) context.Context { return over(context.Canceled) }, 0, obeyGrace},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var offered atomic.Int64
				r := newReporter(t.Context(), slog.New(slog.DiscardHandler), func(Dropped) { time.Sleep(tt.hook); offered.Add(1) }, nil)
				go r.run()
				r.dropped("", DropLaneFull, &entry{}, []string{"a", "b", "c"}, nil)
				began := time.Now()
				r.close(tt.ctx(t))
				if took := time.Since(began); took != tt.took || offered.Load() != tt.offered {
					t.Errorf("%d were offered within %v, want %d within %v", offered.Load(), took, tt.offered, tt.took)
				}
				<-r.done
			})
		})
	}
}
