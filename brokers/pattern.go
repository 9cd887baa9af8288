package brokers

import "github.com/eventbus-go/eventbus/internal/pattern"

// A Pattern matches channels: a channel in which a token may be "*", exactly one token, and the last token may be ">",
// one or more. The grammar is the same on every broker; a driver whose broker's own wildcards match more re-checks with
// Pattern.Match. A Pattern never changes, and is safe for concurrent use.
type Pattern = pattern.Pattern

// ParsePattern reads a pattern. Its error shows the place and the remedy.
func ParsePattern(s string) (Pattern, error) { return pattern.Parse(s) }

// CheckChannel reports whether s may be the name of a channel: tokens of a-z, 0-9, _ and - separated by dots, beginning
// with a letter or a digit, without wildcards, at most 200 bytes. Its error shows the place and the remedy.
func CheckChannel(s string) error { return pattern.CheckName(s) }
