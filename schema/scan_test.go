package schema

import (
	"bytes"
	"strings"
	"testing"
)

func TestEightBytesAtATimeFindTheSameAsOne(t *testing.T) {
	for at := range 20 {
		for c := range 256 {
			text := bytes.Repeat([]byte{'x'}, 24)
			text[at] = byte(c)
			text[23] = '"'
			want := 23
			if isSpecial(byte(c)) {
				want = at
			}
			if got := skipPlain(text, 0); got != want {
				t.Errorf("byte %#x at %d: found at %d", c, at, got)
			}
			if got := skipPlain(string(text), 0); got != want {
				t.Errorf("byte %#x at %d of a string: found at %d", c, at, got)
			}
		}
	}
}

func TestAStringThatEndsWithoutAQuoteIsPlainToItsEnd(t *testing.T) {
	for length := range 20 {
		text := strings.Repeat("x", length)
		for start := range length + 1 {
			if got := skipPlain(`"`+text, 1+start); got != 1+length {
				t.Errorf("%d bytes, from %d: the end is at %d", length, start, got-1)
			}
		}
	}
}
