package overflow

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/eventbus-go/eventbus/brokers"
)

func given(l Limits) *Queue[string] { return New(l, func(s string) int { return len(s) }) }

func TestAQueueKeepsOrderAndCountsWhatItDrops(t *testing.T) {
	put := func(q *Queue[string], bodies ...string) {
		for _, b := range bodies {
			q.Put([]string{b}, time.Unix(1, 0))
		}
	}
	show := func(q *Queue[string]) string {
		var b strings.Builder
		entries, _ := q.take()
		for _, e := range entries {
			switch {
			case e.mark == nil:
				fmt.Fprintf(&b, "%s ", e.msg)
			case e.mark.ready:
				b.WriteString("ready ")
			default:
				fmt.Fprintf(&b, "%s(%d) ", e.mark.gap.Reason, e.mark.gap.Missed)
			}
		}
		return strings.TrimSpace(b.String())
	}
	reconnect := brokers.Gap{Reason: brokers.GapReconnect, Missed: -1}

	t.Run("a count of what was dropped stands where it was dropped", func(t *testing.T) {
		q := given(Limits{2, 100})
		q.Ready()
		put(q, "a", "b", "x", "x")
		if got, want := show(q), "ready a b overflow(2)"; got != want {
			t.Errorf("%q, wants %q", got, want)
		}
		put(q, "x") // a and b are being handed over
		q.release(1, 1)
		put(q, "c", "x")
		if got, want := show(q), "overflow(1) c overflow(1)"; got != want {
			t.Errorf("%q, wants %q", got, want)
		}
	})
	t.Run("bytes are bounded too, but one large body alone comes through", func(t *testing.T) {
		q := given(Limits{10, 4})
		put(q, "large", "x")
		if got, want := show(q), "large overflow(1)"; got != want {
			t.Errorf("%q, wants %q", got, want)
		}
		q.release(1, 5)
		put(q, "abc", "xx", "d")
		if got, want := show(q), "abc overflow(1) d"; got != want {
			t.Errorf("%q, wants %q", got, want)
		}
	})
	t.Run("gaps without a message in between are merged by their reasons", func(t *testing.T) {
		q := given(Limits{1, 100})
		put(q, "a")
		for range 100 {
			put(q, "x")
			q.Gap(reconnect)
		}
		if got, want := show(q), "a overflow(100) reconnect(-1)"; got != want {
			t.Errorf("%q, wants %q", got, want)
		}
	})
	t.Run("a closed queue is emptied first", func(t *testing.T) {
		q := given(Limits{1, 100})
		put(q, "a")
		q.Close()
		if got := show(q); got != "a" {
			t.Errorf("%q", got)
		}
		if _, ok := q.take(); ok {
			t.Error("there was more")
		}
	})
}
