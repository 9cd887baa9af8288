package brokertest

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/eventbus-go/eventbus/brokers"
)

// Messages are recognised by channel and body, since not every broker carries an id.
func same(a, b brokers.Message) bool { return a.Channel == b.Channel && bytes.Equal(a.Body, b.Body) }

func identity(m brokers.Message) string { return m.Channel + "\x00" + string(m.Body) }

// missing returns the messages that did not arrive.
func missing(got []arrival, want []brokers.Message) []brokers.Message {
	if len(got) == 0 {
		return want
	}
	have := make(map[string]bool, len(got))
	for _, a := range got {
		have[identity(a.Message)] = true
	}
	var out []brokers.Message
	for _, m := range want {
		if !have[identity(m)] {
			out = append(out, m)
		}
	}
	return out
}

// exactly fails unless each message arrived once and nothing else did.
func (w *world) exactly(got []arrival, want []brokers.Message) {
	w.Helper()
	count := make(map[string]int, len(want))
	for _, m := range want {
		count[identity(m)] = 0
	}
	for _, a := range got {
		n, expected := count[identity(a.Message)]
		switch {
		case !expected:
			w.Errorf("a message arrived that it should not have: %s", show(a.Message))
			return
		case n > 0:
			w.Errorf("a message arrived twice: %s", show(a.Message))
			return
		}
		count[identity(a.Message)]++
	}
	if lost := missing(got, want); len(lost) > 0 {
		w.Errorf("%d of %d messages did not arrive, the first one is %s", len(lost), len(want), show(lost[0]))
	}
}

// none fails if any of the messages arrived.
func (w *world) none(got []arrival, unwanted []brokers.Message, why string) {
	w.Helper()
	bad := make(map[string]bool, len(unwanted))
	for _, m := range unwanted {
		bad[identity(m)] = true
	}
	for _, a := range got {
		if bad[identity(a.Message)] {
			w.Errorf("%s, but it arrived: %s", why, show(a.Message))
			return
		}
	}
}

// ascending fails unless the messages of each group, such as a key, arrived in the order of want.
func (w *world) ascending(got []arrival, want []brokers.Message, group func(brokers.Message) string) {
	w.Helper()
	place := make(map[string]int, len(want))
	for i, m := range want {
		place[identity(m)] = i
	}
	last := make(map[string]int)
	for _, a := range got {
		i, known := place[identity(a.Message)]
		if !known {
			continue
		}
		g := group(want[i])
		if before, seen := last[g]; seen && before > i {
			w.Errorf("of %q, %s arrived after %s", g, show(want[i]), show(want[before]))
			return
		}
		last[g] = i
	}
}

func show(m brokers.Message) string {
	body := string(m.Body)
	if len(body) > 60 {
		body = fmt.Sprintf("%s… (%d bytes)", body[:60], len(m.Body))
	}
	return fmt.Sprintf("%q on %s", body, m.Channel)
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func errorText(err error) string {
	if err == nil {
		return "nil"
	}
	return err.Error()
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

func bodyOf(size int) []byte { return []byte(strings.Repeat("x", size)) }
