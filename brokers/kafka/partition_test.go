package kafka

import (
	"errors"
	"testing"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
)

// given returns a subscription with one partition that has fetched records with these keys, from offset 0 on.
func given(keys ...string) (*subscription, *partition) {
	c := &conn{set: defaults()}
	s, _ := c.newSubscription(brokers.Subscription{Channels: []string{"a"}, Group: "g"})
	s.assign([]start{{tp: tp{"a", 0}, committed: -1}}, false)
	p := s.parts[tp{"a", 0}]
	for i, key := range keys {
		p.buffer = append(p.buffer, &entry{p: p, offset: int64(i), msg: brokers.Message{Key: key}})
	}
	p.next = int64(len(keys))
	return s, p
}

func deliver(s *subscription) (tokens []brokers.Token, offsets []int64) {
	_, batch := s.take()
	for _, d := range batch {
		tokens = append(tokens, d.Token)
		offsets = append(offsets, d.Token.Ref.(*entry).offset)
	}
	return tokens, offsets
}

func settleOne(t *testing.T, s *subscription, tok brokers.Token, v brokers.Verdict, after time.Duration) {
	t.Helper()
	if err := s.Settle(t.Context(), []brokers.Settlement{{Token: tok, Verdict: v, After: after}}); err != nil {
		t.Fatal(err)
	}
}

func TestOnlyTheSettledPrefixMayBeCommitted(t *testing.T) {
	s, p := given("a", "b", "c", "d")
	tokens, _ := deliver(s)
	for _, step := range []struct {
		settle int
		want   int64
	}{{1, 0}, {3, 0}, {0, 2}, {2, 4}} {
		settleOne(t, s, tokens[step.settle], brokers.Ack, 0)
		if got := p.settledPrefix(); got != step.want {
			t.Errorf("after %d is settled, %d may be committed, wants %d", step.settle, got, step.want)
		}
	}
	if c := s.commits(); c[p.tp] != 4 {
		t.Errorf("%v is committed", c)
	}
	s.committed(map[tp]int64{p.tp: 4})
	if c := s.commits(); len(c) != 0 {
		t.Errorf("%v is committed a second time", c)
	}
}

func TestLaterMessagesOfAKeyWaitBehindARedelivery(t *testing.T) {
	s, p := given("a", "a", "b", "a")
	s.prefetch = 1
	tokens, _ := deliver(s)
	settleOne(t, s, tokens[0], brokers.Redeliver, time.Hour)
	tokens, offsets := deliver(s)
	if len(offsets) != 1 || offsets[0] != 2 {
		t.Fatalf("%v is delivered while 0 waits, wants 2, of another key", offsets)
	}
	settleOne(t, s, tokens[0], brokers.Ack, 0)
	if _, offsets = deliver(s); len(offsets) != 0 {
		t.Fatalf("%v is delivered while 0 of its key waits", offsets)
	}
	if got := p.settledPrefix(); got != 0 {
		t.Errorf("%d may be committed while 0 waits", got)
	}
	s.delayed[0].due = time.Now()
	s.timerFired()
	for want := range []int64{0, 1, 3} {
		tokens, offsets = deliver(s)
		if len(offsets) != 1 || offsets[0] != []int64{0, 1, 3}[want] {
			t.Fatalf("%v is delivered, wants %d", offsets, []int64{0, 1, 3}[want])
		}
		settleOne(t, s, tokens[0], brokers.Ack, 0)
	}
	if got := p.settledPrefix(); got != 4 || s.open != 0 || len(p.keys) != 0 {
		t.Errorf("%d may be committed, %d are unsettled, %d keys wait", got, s.open, len(p.keys))
	}
	s.stop()
}

func TestATokenSettlesOnce(t *testing.T) {
	s, _ := given("a", "b")
	tokens, _ := deliver(s)
	settleOne(t, s, tokens[0], brokers.Ack, 0)
	if err := s.Settle(t.Context(), []brokers.Settlement{{Token: tokens[0]}, {Token: tokens[1]}}); err == nil {
		t.Error("a token was settled twice without an error")
	}
	if s.unsettled() != 0 {
		t.Error("a bad token kept another one from being settled")
	}
}

func TestWhatAnotherMemberHasNowIsNotSettledHere(t *testing.T) {
	s, p := given("a", "b")
	tokens, _ := deliver(s)
	s.abandon()
	if s.unsettled() != 0 || !p.dead {
		t.Errorf("%d are unsettled after the partition went", s.unsettled())
	}
	if err := s.Settle(t.Context(), []brokers.Settlement{{Token: tokens[0]}}); err == nil {
		t.Error("a delivery of a partition that went was settled")
	}
	if s.unsettled() != 0 || len(s.commits()) != 0 {
		t.Error("a late settlement changed something")
	}
}

func TestAKeptPartitionKeepsWhatWasFetched(t *testing.T) {
	s, p := given("a", "b")
	s.assign([]start{{tp: p.tp, next: 1, committed: 1}}, true)
	if s.parts[p.tp] != p || len(p.buffer) != 2 {
		t.Error("what was fetched is gone")
	}
	s.assign([]start{{tp: p.tp, next: 1, committed: 1}}, false)
	if q := s.parts[p.tp]; q == p || q.next != 1 || len(q.buffer) != 0 {
		t.Error("what another member may have had was kept")
	}
}

func TestNothingIsDeliveredTooFarAheadOfWhatIsNotSettled(t *testing.T) {
	s, p := given("a", "b", "c", "d", "e", "f")
	s.c.set.maxAhead = 4
	tokens, offsets := deliver(s)
	if len(offsets) != 4 || p.hungry(time.Now(), 4) {
		t.Fatalf("%v are delivered, and it asks for more: %v", offsets, p.hungry(time.Now(), 4))
	}
	for _, tok := range tokens[1:] {
		settleOne(t, s, tok, brokers.Ack, 0)
	}
	if _, more := deliver(s); len(more) != 0 {
		t.Errorf("%v are delivered while the first is not settled", more)
	}
	settleOne(t, s, tokens[0], brokers.Ack, 0)
	if _, more := deliver(s); len(more) != 2 || p.settledPrefix() != 4 {
		t.Errorf("then %v are delivered, and %d may be committed", more, p.settledPrefix())
	}
}

func TestNothingIsDeliveredWhileNothingCanBeCommitted(t *testing.T) {
	s, _ := given("a", "b")
	s.hold(true)
	if _, offsets := deliver(s); len(offsets) != 0 {
		t.Errorf("%v are delivered", offsets)
	}
	s.hold(false)
	if _, offsets := deliver(s); len(offsets) != 2 {
		t.Errorf("then %v are delivered", offsets)
	}
}

func TestSoMuchIsSettledAtMostBeforeACommitIsWaitedFor(t *testing.T) {
	s, _ := given("a", "b", "c", "d", "e", "f", "g", "h")
	s.c.set.maxUncommitted, s.prefetch = 4, 2
	var settled int
	for {
		tokens, _ := deliver(s)
		if len(tokens) == 0 {
			break
		}
		for _, tok := range tokens {
			settleOne(t, s, tok, brokers.Ack, 0)
			settled++
		}
	}
	if settled != 4 || len(s.full) != 1 {
		t.Fatalf("%d are settled before anything is committed, and a commit is asked for %d times", settled, len(s.full))
	}
	select {
	case <-s.woken:
	default:
	}
	s.committed(s.commits())
	if len(s.woken) != 1 {
		t.Error("nobody is told that there is room again")
	}
	if tokens, _ := deliver(s); len(tokens) != 2 {
		t.Errorf("%d are delivered after the commit", len(tokens))
	}
}

// What is settled behind a message that is not cannot be committed: max_ahead bounds it, and waiting would not end.
func TestWhatCannotBeCommittedIsNotWaitedFor(t *testing.T) {
	s, _ := given("a", "b", "c", "d", "e", "f")
	s.c.set.maxUncommitted, s.prefetch = 2, 3
	tokens, _ := deliver(s)
	for _, tok := range tokens[1:] {
		settleOne(t, s, tok, brokers.Ack, 0)
	}
	if more, _ := deliver(s); len(more) != 0 {
		t.Errorf("%d are delivered before anybody has tried to commit", len(more))
	}
	s.committed(s.commits())
	if more, _ := deliver(s); len(more) != 2 {
		t.Errorf("%d are delivered then", len(more))
	}
}

// Suppose one partition has a backlog, and is fetched as fast as it is delivered: the others have their turn all the same, also
// where the sink is asked for less than is fetched and the feeding goroutine looks again in vain each time.
func TestAPartitionWithABacklogLeavesTheOthersTheirTurn(t *testing.T) {
	s, p := given()
	s.prefetch = 10
	s.assign([]start{{tp: p.tp, committed: -1}, {tp: tp{"a", 1}, committed: -1}}, true)
	other := s.parts[tp{"a", 1}]
	other.buffer, other.next = []*entry{{p: other}}, 1
	for range 4 {
		for range 20 {
			p.buffer = append(p.buffer, &entry{p: p, offset: p.next})
			p.next++
		}
		tokens, _ := deliver(s)
		if more, _ := deliver(s); len(more) != 0 {
			t.Fatalf("%d are delivered beyond the prefetch", len(more))
		}
		for _, tok := range tokens {
			settleOne(t, s, tok, brokers.Ack, 0)
		}
		s.committed(s.commits())
	}
	if len(other.buffer) != 0 {
		t.Errorf("one partition's messages are delivered up to %d, and of the other one none is", p.settledPrefix())
	}
}

// Suppose a topic is deleted and made anew while 950 to 952 of the old one are handled: settling those says nothing of 0 to
// 2 of the new one.
func TestNothingOfALogThatIsGoneIsCommittedToTheNewOne(t *testing.T) {
	s, p := given("a", "b", "c", "d")
	s.prefetch = 3
	for i, e := range p.buffer {
		e.offset, e.size = int64(950+i), 10
		s.bytes += e.size
		p.bytes += e.size
	}
	p.next, p.committed = 954, 950
	old, _ := deliver(s)
	if before := s.moveTo(p, 0); before != 954 {
		t.Errorf("it was at %d", before)
	}
	s.committed(map[tp]int64{p.tp: 950}) // the answer to a commit that was under way
	if c := s.commits(); len(c) != 1 || c[p.tp] != 0 {
		t.Errorf("%v is committed before anything of the new log was fetched", c)
	}
	q := s.parts[p.tp]
	if q == p || len(s.order) != 1 || s.order[0] != q || s.unsettled() != 0 || s.bytes != 0 {
		t.Fatalf("%d partitions, %d unsettled, %d bytes", len(s.order), s.unsettled(), s.bytes)
	}
	for i := range 3 {
		q.buffer = append(q.buffer, &entry{p: q, offset: int64(i)})
	}
	q.next = 3
	if err := s.Settle(t.Context(), []brokers.Settlement{{Token: old[2]}}); !errors.Is(err, errNotDelivered) {
		t.Errorf("a delivery of the old log was settled: %v", err)
	}
	s.committed(s.commits())
	fresh, offsets := deliver(s)
	if len(offsets) != 3 || offsets[0] != 0 {
		t.Fatalf("%v are delivered", offsets)
	}
	settleOne(t, s, fresh[0], brokers.Ack, 0)
	if c := s.commits(); c[p.tp] != 1 {
		t.Errorf("%v is committed once 0 is settled, wants 1", c)
	}
}

func TestAPartitionThatWentWhileItsPlaceWasLookedForStaysAway(t *testing.T) {
	s, p := given("a")
	s.abandon()
	s.moveTo(p, 0)
	if len(s.parts) != 0 || len(s.order) != 0 {
		t.Error("it is back")
	}
}
