package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"sync"
)

// A transcript prints what happens, scene by scene. In which order the subscribers of one scene get to see it is the broker's
// business and chance, so that the lines of a scene are sorted.
type transcript struct {
	out     io.Writer
	arrived chan struct{} // says that there is a new line

	mu    sync.Mutex
	lines []string
}

// say adds a line to the scene.
func (t *transcript) say(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lines = append(t.lines, fmt.Sprintf(format, args...))
	select {
	case t.arrived <- struct{}{}:
	default:
	}
}

// scene plays a scene, waits until so many lines of it were said, and prints them.
func (t *transcript) scene(ctx context.Context, title string, lines int, play func() error) error {
	if err := play(); err != nil {
		return err
	}
	for {
		if said := t.take(lines); said != nil {
			return t.print(title, said)
		}
		select {
		case <-t.arrived:
		case <-ctx.Done():
			return fmt.Errorf("%s: only this has happened: %q: %w", title, t.take(0), context.Cause(ctx))
		}
	}
}

// take returns the lines of the scene, sorted, once there are enough.
func (t *transcript) take(enough int) []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.lines) < enough {
		return nil
	}
	said := t.lines
	t.lines = nil
	slices.Sort(said)
	return said
}

func (t *transcript) print(title string, lines []string) error {
	if _, err := fmt.Fprintln(t.out, title); err != nil {
		return err
	}
	for _, line := range lines {
		if _, err := fmt.Fprintln(t.out, "    "+line); err != nil {
			return err
		}
	}
	return nil
}
