package brokertest

import (
	"runtime"
	"strings"

	"github.com/eventbus-go/eventbus/brokers"
)

var leakCases = []Case{
	{
		Name:        "no goroutine is left after Close",
		Explanation: "A service that reconnects with new credentials each hour would carry them all.",
		run:         noGoroutineIsLeft,
	},
}

func noGoroutineIsLeft(w *world) {
	w.open() // what is started once for all connections is there now
	before := goroutines()
	for range 10 {
		conn, ch := w.open(), w.h.Channel()
		sub := w.subscribe(conn, brokers.Subscription{Channels: []string{ch}, Group: w.group()})
		ended := w.subscribe(conn, brokers.Subscription{Channels: []string{ch}, Group: w.group()})
		msgs := w.messages(5, ch)
		w.publish(conn, msgs...)
		sub.waitFor("all messages arrive", msgs...)
		ended.waitFor("all messages arrive", msgs...)
		_ = ended.end()
		if err := w.closeConn(conn, w.h.Patience); err != nil {
			w.Errorf("Close: %v", err)
		}
		w.await("Subscribe returns after Close", w.h.Patience, sub.done)
	}
	var left []string
	w.poll(nil, func() (string, bool) {
		left = w.newGoroutines(before)
		if len(left) == 0 {
			return "", true
		}
		return plural(len(left), "goroutine is", "goroutines are") + " left after Close, such as:\n" + left[0], false
	})
}

// newGoroutines returns the stacks of goroutines that are not in before and that the harness does not excuse.
func (w *world) newGoroutines(before map[string]string) []string {
	var out []string
	for id, stack := range goroutines() {
		if _, known := before[id]; !known && !w.excused(stack) {
			out = append(out, stack)
		}
	}
	return out
}

func (w *world) excused(stack string) bool {
	for _, part := range append([]string{"testing.(*T).Run", "brokertest.goroutines"}, w.h.IgnoreGoroutines...) {
		if strings.Contains(stack, part) {
			return true
		}
	}
	return false
}

// goroutines returns the stacks of all goroutines, by their heading "goroutine N".
func goroutines() map[string]string {
	buf := make([]byte, 1<<20)
	for {
		n := runtime.Stack(buf, true)
		if n < len(buf) {
			buf = buf[:n]
			break
		}
		buf = make([]byte, 2*len(buf))
	}
	out := make(map[string]string)
	for stack := range strings.SplitSeq(string(buf), "\n\n") {
		heading, _, _ := strings.Cut(stack, " [")
		out[heading] = stack
	}
	return out
}
