package main

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"unicode"
)

// A console prints for people. Handlers of several subscriptions use it at once.
type console struct {
	mu sync.Mutex
	w  io.Writer
}

// line prints one line.
func (c *console) line(format string, args ...any) {
	c.print(visible(fmt.Sprintf(format, args...)) + "\n")
}

// title prints the title of a scene, after an empty line.
func (c *console) title(text string) { c.print("\n" + visible(text) + "\n") }

// effect prints what a subscriber did, its lines one below the other beside the subscriber's name.
func (c *console) effect(who, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	var b strings.Builder
	for line := range strings.Lines(text) {
		fmt.Fprintf(&b, "    %-13s %s\n", who, visible(strings.TrimSuffix(line, "\n")))
		who = ""
	}
	c.print(b.String())
}

func (c *console) print(text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, _ = io.WriteString(c.w, text) // there is nowhere to report that a screen is gone
}

// visible replaces control characters: names and identifiers in events are chosen by strangers, who must not be able to
// drive the terminal.
func visible(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return unicode.ReplacementChar
		}
		return r
	}, s)
}
