package bus

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestACallHasThreeQuartersOfItsTimeAtLeastAndAllOfItAtMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l callLimit
		defer l.end()
		const timeout = time.Second
		contexts := make(map[context.Context]bool)
		for range 100 {
			ctx := l.context(t.Context(), timeout)
			contexts[ctx] = true
			deadline, ok := ctx.Deadline()
			if left := time.Until(deadline); !ok || ctx.Err() != nil || left < timeout*3/4 || left > timeout {
				t.Fatalf("a call has %v, and its context %v", left, ctx.Err())
			}
			time.Sleep(30 * time.Millisecond)
		}
		if n := len(contexts); n < 10 || n > 14 {
			t.Errorf("%d contexts in 3 s", n)
		}
	})
}

func TestAContextThatEndedIsUsedForNoOtherCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l callLimit
		defer l.end()
		first := l.context(t.Context(), time.Second)
		l.end()
		if second := l.context(t.Context(), time.Second); first.Err() == nil || second.Err() != nil {
			t.Errorf("first %v, second %v", first.Err(), second.Err())
		}
	})
}
