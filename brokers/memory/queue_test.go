package memory_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/brokers/memory"
)

func TestAFullQueueMakesPublishWaitUntilItsContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := memory.New(memory.WithQueue(2, 0))
		defer closeAll(t, c)
		s := subscribe(t, c, brokers.Subscription{Name: "slow", Channels: []string{"a"}})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		err := c.Publish(ctx, messages("a", "1", "2", "3", "4"))
		expect(t, "what is marked", marks(err), "2 not_sent", "3 not_sent")
		if waited := time.Since(began); waited != time.Second {
			t.Errorf("Publish waited %v for a second's context", waited)
		}
		named := strings.Contains(err.Error(), `"slow" is full`)
		if !errors.Is(err, context.DeadlineExceeded) || !named || !c.Retryable(err) {
			t.Errorf("the error has to name the queue, be DeadlineExceeded and be retryable: %v", err)
		}
		expect(t, "what arrived", s.bodies(), "1", "2")
	})
}

func TestAPublishThatWaitsGoesOnWhenSomethingIsSettled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := memory.New(memory.WithQueue(2, 0))
		defer closeAll(t, c)
		s := subscribe(t, c, brokers.Subscription{Channels: []string{"a"}})
		done := false
		go func() { done = c.Publish(t.Context(), messages("a", "1", "2", "3")) == nil }()
		expect(t, "what arrives first", s.bodies(), "1", "2")
		s.settle(t, 0, brokers.Settlement{})
		expect(t, "what arrives then", s.bodies(), "1", "2", "3")
		if !done {
			t.Error("Publish still waits")
		}
	})
}

func TestAPublishGetsTheOneFreePlaceOfAQueueWhereNothingIsReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := memory.New(memory.WithQueue(32, 0))
		defer closeAll(t, c)
		s := subscribe(t, c, brokers.Subscription{Channels: []string{"a"}})
		for range 32 {
			publish(t, c, "a", "x")
		}
		go func() { _ = c.Publish(t.Context(), messages("a", "last")) }()
		expect(t, "what arrives first", s.bodies()[31:], "x")
		s.settle(t, 0, brokers.Settlement{}) // the others stay unsettled, so no other place becomes free
		expect(t, "what arrives then", s.bodies()[31:], "x", "last")
	})
}

func TestAPublishThatWaitsEndsWithClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		name := memory.WithName(t.Name())
		c, other := memory.New(name, memory.WithQueue(1, 0)), memory.New(name)
		defer closeAll(t, c, other)
		subscribe(t, c, brokers.Subscription{Channels: []string{"a"}})
		var err error
		go func() { err = other.Publish(t.Context(), messages("a", "1", "2")) }()
		synctest.Wait()
		closeAll(t, other)
		expect(t, "what is marked", marks(err), "1 not_sent")
		if !errors.Is(err, brokers.ErrClosed) {
			t.Errorf("Publish returned %v, wants ErrClosed", err)
		}
	})
}

func TestAMessageGetsIntoAllOfItsQueuesOrIntoNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := memory.New(memory.WithQueue(2, 0))
		defer closeAll(t, c)
		full := subscribe(t, c, brokers.Subscription{Channels: []string{"a"}})
		both := subscribe(t, c, brokers.Subscription{Channels: []string{"a", "b"}})
		publish(t, c, "a", "1", "2")
		expect(t, "what arrives", both.bodies(), "1", "2")
		both.ackAll(t) // so that only the other queue is full
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		expect(t, "what is marked", marks(c.Publish(ctx, messages("a", "3"))), "0 not_sent")
		expect(t, "what arrives at the queue with room", both.bodies())
		full.ackAll(t)
		publish(t, c, "a", "4")
		expect(t, "what arrives later", both.bodies(), "4")
	})
}

func TestAMessageDoesNotOvertakeOneThatIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := memory.New(memory.WithQueue(10, 10))
		defer closeAll(t, c)
		s := subscribe(t, c, brokers.Subscription{Channels: []string{"a"}})
		go func() { _ = c.Publish(t.Context(), messages("a", "123456", "large one", "s")) }() // the small one would fit
		expect(t, "what arrives first", s.bodies(), "123456")
		s.ackAll(t)
		expect(t, "what arrives then", s.bodies(), "large one", "s")
	})
}

func TestAMessageDoesNotOvertakeOneOfAnotherChannel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := memory.New(memory.WithQueue(1, 0))
		defer closeAll(t, c)
		full := subscribe(t, c, brokers.Subscription{Channels: []string{"a"}})
		both := subscribe(t, c, brokers.Subscription{Channels: []string{"a", "b"}, Prefetch: 1})
		publish(t, c, "a", "0")
		both.ackAll(t)
		batch := append(messages("a", "1"), messages("b", "2")...)
		go func() { _ = c.Publish(t.Context(), batch) }()
		expect(t, "what arrives while another queue is full", both.bodies())
		full.ackAll(t)
		expect(t, "what arrives first", both.bodies(), "1")
		both.ackAll(t)
		expect(t, "what arrives then", both.bodies(), "2")
	})
}

func TestNothingIsKeptOfWhatIsSettled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := memory.New()
		defer closeAll(t, c)
		s := subscribe(t, c, brokers.Subscription{Channels: []string{"a"}})
		publish(t, c, "a", strings.Repeat("x", 1<<20))
		synctest.Wait()
		body := weak.Make(&s.got[0].Body[0])
		s.ackAll(t)
		runtime.GC()
		if body.Value() != nil {
			t.Error("a body is kept although it was settled and the subscription is idle")
		}
	})
}

func TestAMessageLargerThanTheQueueIsLetIntoAnEmptyOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := memory.New(memory.WithQueue(10, 4))
		defer closeAll(t, c)
		s := subscribe(t, c, brokers.Subscription{Channels: []string{"a"}})
		publish(t, c, "a", "far too large")
		expect(t, "what arrives", s.bodies(), "far too large")
	})
}

func TestWhatNobodyWantsIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := memory.New(memory.WithQueue(1, 0))
		defer closeAll(t, c)
		publish(t, c, "a", "1", "2", "3")
		expect(t, "what a later subscription gets", subscribe(t, c, brokers.Subscription{Channels: []string{"a"}}).bodies())
	})
}

func TestAGroupWithoutMembersKeepsTheNewestAndReportsTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := memory.New(memory.WithQueue(3, 0))
		defer closeAll(t, c)
		sub := brokers.Subscription{Channels: []string{"a"}, Group: "g"}
		first := subscribe(t, c, sub)
		first.stop()
		synctest.Wait()
		publish(t, c, "a", "1", "2", "3", "4", "5")
		next := subscribe(t, c, sub)
		expect(t, "what the next member gets", next.bodies(), "3", "4", "5")
		if len(next.gaps) != 1 || next.gaps[0].Missed != 2 || next.gaps[0].Reason != brokers.GapOverflow {
			t.Errorf("the next member is told of %+v, wants one gap that missed 2", next.gaps)
		}
		if third := subscribe(t, c, sub); len(third.gaps) != 0 {
			t.Errorf("a gap is told twice: %+v", third.gaps)
		}
	})
}

func TestARedeliveryComesBeforeWhatWasNeverDelivered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := memory.New()
		defer closeAll(t, c)
		s := subscribe(t, c, brokers.Subscription{Channels: []string{"a"}, Prefetch: 2})
		publish(t, c, "a", "1", "2", "3", "4")
		expect(t, "what arrives first", s.bodies(), "1", "2")
		tokens := []brokers.Settlement{
			{Token: s.got[1].Token, Verdict: brokers.Redeliver}, {Token: s.got[0].Token, Verdict: brokers.Redeliver},
		}
		if err := s.got[0].Settler.Settle(t.Context(), tokens); err != nil {
			t.Fatal(err)
		}
		expect(t, "what arrives then", s.bodies(), "1", "2", "1", "2")
		s.got = s.got[2:]
		s.ackAll(t)
		expect(t, "what arrives last", s.bodies(), "3", "4")
	})
}

func TestATokenSettlesOneDeliveryOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := memory.New()
		defer closeAll(t, c)
		s := subscribe(t, c, brokers.Subscription{Channels: []string{"a"}})
		other := subscribe(t, c, brokers.Subscription{Channels: []string{"a"}})
		publish(t, c, "a", "1")
		expect(t, "what arrives", s.bodies(), "1")
		old := s.got[0]
		s.settle(t, 0, brokers.Settlement{Verdict: brokers.Redeliver})
		expect(t, "what arrives again", s.bodies(), "1", "1")
		for _, token := range []brokers.Token{old.Token, other.got[0].Token, {}} {
			if err := old.Settler.Settle(t.Context(), []brokers.Settlement{{Token: token}}); err == nil {
				t.Errorf("the token %v of another delivery is taken", token)
			}
		}
		s.settle(t, 1, brokers.Settlement{})
	})
}

func TestADelayEndsAtItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := memory.New()
		defer closeAll(t, c)
		s := subscribe(t, c, brokers.Subscription{Channels: []string{"a"}})
		publish(t, c, "a", "1", "2", "3")
		expect(t, "what arrives", s.bodies(), "1", "2", "3")
		for i, hours := range []time.Duration{2, 1, 3} {
			s.settle(t, i, brokers.Settlement{Verdict: brokers.Redeliver, After: hours * time.Hour})
		}
		time.Sleep(time.Hour - time.Nanosecond)
		expect(t, "what arrives too early", s.bodies(), "1", "2", "3")
		time.Sleep(time.Nanosecond)
		expect(t, "what arrives after an hour", s.bodies(), "1", "2", "3", "2")
		time.Sleep(time.Hour)
		expect(t, "what arrives after two hours", s.bodies(), "1", "2", "3", "2", "1")
	})
}

func TestWhatADrainingMemberHasNotFetchedGoesToOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := memory.New()
		defer closeAll(t, c)
		sub := brokers.Subscription{Channels: []string{"a"}, Group: "g", Prefetch: 1}
		first := subscribe(t, c, sub)
		publish(t, c, "a", "1", "2")
		expect(t, "what the first member gets", first.bodies(), "1")
		second := subscribe(t, c, sub)
		first.stop()
		expect(t, "what the second member gets of the same key", second.bodies())
		first.settle(t, 0, brokers.Settlement{})
		expect(t, "what it gets once the first has settled", second.bodies(), "2")
		if !first.done {
			t.Error("the first member has settled everything and still has not left")
		}
	})
}

// Suppose a connection is closed while it publishes, and at that moment there is room, since its subscriptions leave: what it had
// left goes nowhere, and must not be taken for published.
func TestAPublishThatWaitsEndsWithCloseEvenIfThereIsRoomThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for i := range 200 {
			c := memory.New(memory.WithQueue(1, 0))
			subscribe(t, c, brokers.Subscription{Channels: []string{"a"}})
			var err error
			go func() { err = c.Publish(t.Context(), messages("a", "1", "2")) }()
			synctest.Wait()
			closeAll(t, c)
			if got := marks(err); len(got) != 1 || got[0] != "1 not_sent" || !errors.Is(err, brokers.ErrClosed) {
				t.Fatalf("at try %d Publish returned %v", i+1, err)
			}
		}
	})
}

// Close stops fetching first: it waits for what handlers have, and not for all that was published.
func TestNothingIsFetchedOnceCloseHasBegun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := memory.New()
		b := &blocking{sink: sink{stop: func() {}}, release: make(chan struct{})}
		go func() { b.err = c.Subscribe(t.Context(), brokers.Subscription{Channels: []string{"a"}}, b) }()
		synctest.Wait()
		publish(t, c, "a", "1")
		synctest.Wait()
		publish(t, c, "a", "2", "3")
		closed := make(chan error, 1)
		go func() { closed <- c.Close(t.Context()) }()
		synctest.Wait()
		close(b.release)
		expect(t, "what is delivered", b.bodies(), "1")
		b.ackAll(t)
		if err := <-closed; err != nil {
			t.Error(err)
		}
	})
}

// A blocking sink waits in Deliver until it is released.
type blocking struct {
	sink
	release chan struct{}
}

func (b *blocking) Deliver(batch []brokers.Delivery) {
	<-b.release
	b.sink.Deliver(batch)
}
