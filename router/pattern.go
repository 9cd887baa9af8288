package router

import "github.com/eventbus-go/eventbus/internal/pattern"

// A Pattern matches event types, by the grammar that channels use too: tokens separated by dots, where "*" is exactly one
// token and ">", at the end, is one or more. It never changes and is safe for concurrent use.
type Pattern = pattern.Pattern

// ParsePattern reads a pattern. Its error shows the place and the remedy.
func ParsePattern(s string) (Pattern, error) { return pattern.Parse(s) }
