package brokers

import (
	"errors"
	"io"
	"testing"
)

func TestARefusalNamesTheBrokersThatCould(t *testing.T) {
	for _, tt := range []struct {
		could []string
		want  string
	}{
		{nil, `subscription "billing" needs consumer groups; redis:// promises none (no broker of this program could)`},
		{[]string{"memory"}, `subscription "billing" needs consumer groups; redis:// promises none (memory:// could)`},
		{
			[]string{"kafka", "nats+js"},
			`subscription "billing" needs consumer groups; redis:// promises none (kafka://, nats+js:// could)`,
		},
	} {
		e := &CapabilityError{Subscription: "billing", Needs: "consumer groups", Broker: "redis", Could: tt.could}
		if got := e.Error(); got != tt.want {
			t.Errorf("the error is\n%s\nwants\n%s", got, tt.want)
		}
	}
}

func TestOrdersHaveNamesAndGrowStronger(t *testing.T) {
	if OrderNone.String() != "none" || OrderKey.String() != "key" || OrderChannel.String() != "channel" {
		t.Errorf("the orders are called %v, %v and %v", OrderNone, OrderKey, OrderChannel)
	}
	if OrderNone >= OrderKey || OrderKey >= OrderChannel {
		t.Errorf("a stronger order is not the greater one")
	}
}

func TestOutcomesHaveNames(t *testing.T) {
	for o, want := range map[Outcome]string{
		Confirmed: "confirmed", NotSent: "not_sent", Rejected: "rejected", Unknown: "unknown", 9: "Outcome(9)",
	} {
		if got := o.String(); got != want {
			t.Errorf("an outcome is called %q, wants %q", got, want)
		}
	}
}

func TestFailAllMarksEachMessage(t *testing.T) {
	e := FailAll(3, Unknown, io.ErrUnexpectedEOF)
	for i, f := range e.Failed {
		if f.Index != i || f.Outcome != Unknown || f.Err != io.ErrUnexpectedEOF {
			t.Errorf("message %d is marked %+v", i, f)
		}
	}
	if len(e.Failed) != 3 || !errors.Is(e, io.ErrUnexpectedEOF) {
		t.Errorf("FailAll(3) marks %d messages: %v", len(e.Failed), e)
	}
	if empty := (&BatchError{}); empty.Unwrap() != nil || empty.Error() != "no message failed" {
		t.Errorf("an empty BatchError says %q", empty.Error())
	}
}
