package schema

import (
	"fmt"
	"strings"
	"testing"
)

// Payloads share blocks: suppose one could be appended to in place, or a block was used again, then another event's data
// would change.
func TestPayloadsThatShareABlockStayApart(t *testing.T) {
	type note struct {
		Text string `json:"text"`
	}
	def := MustDefine(NewCatalogue("s"), Definition[note]{Type: "note.taken"})
	var events []Event
	var want []string
	for i := range 2 * blockBytes / 20 {
		text := strings.Repeat("x", i%300) + fmt.Sprint(i)
		if i%100 == 0 {
			text = strings.Repeat("y", blockBytes) // has a block of its own
		}
		events = append(events, def.New(note{text}))
		want = append(want, `{"text":"`+text+`"}`)
	}
	for i := range events {
		_ = append(events[i].Data, "overwritten"...)
	}
	for i := range events {
		if got := string(events[i].Data); got != want[i] {
			t.Fatalf("event %d has %.60q, wants %.60q", i, got, want[i])
		}
	}
}

func TestStringsOfEveryLengthAreScannedWhole(t *testing.T) {
	for n := range 40 {
		plain := strings.Repeat("a", n)
		if got := skipPlain(plain, 0); got != n {
			t.Errorf("%d plain bytes: stops at %d", n, got)
		}
		for at := range n {
			for _, c := range []byte{'"', '\\', 0, 0x1f, 0x80, 0xff} {
				b := []byte(plain)
				b[at] = c
				for from := range at + 1 {
					if got := skipPlain(b, from); got != at {
						t.Errorf("%q from %d: stops at %d, wants %d", b, from, got, at)
					}
				}
			}
		}
	}
}
