package bus

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// A suspectHandler is a log handler that panics.
type suspectHandler struct {
	slog.Handler
	asked int
}

func (*suspectHandler) Enabled(context.Context, slog.Level) bool { return true }

func (h *suspectHandler) Handle(context.Context, slog.Record) error {
	h.asked++
	panic("in the log handler")
}

func TestAPanicOfTheLogHandlerIsContainedAndCounted(t *testing.T) {
	h := &suspectHandler{}
	b := &Bus{}
	b.reporter = newReporter(t.Context(), slog.New(h), nil, b.panicked)
	for i := range 3 {
		b.reporter.note("kind", slog.LevelWarn, "message")
		b.reporter.write(time.Unix(int64(i)*10, 0))
	}
	if h.asked < 3 || b.panics.Load() != int64(h.asked) {
		t.Errorf("%d records panicked, %d panics are counted", h.asked, b.panics.Load())
	}
}

// Suppose two handlers panic at once: the first one is to log its stack, and the second one is noted before it.
func TestAStackIsLoggedAlsoWhereAnotherPanicOfItsPlaceIsNotedFirst(t *testing.T) {
	var log strings.Builder
	b := &Bus{}
	b.reporter = newReporter(t.Context(), slog.New(slog.NewTextHandler(&log, nil)), nil, b.panicked)
	b.stacks.Store("there", true)
	b.logPanic("there", "the second", []byte("its stack"))
	b.stacks.Delete("there")
	b.logPanic("there", "the first", []byte("the stack"))
	b.reporter.write(time.Time{})
	if n := strings.Count(log.String(), "stack="); n != 1 || !strings.Contains(log.String(), `stack="the stack"`) {
		t.Errorf("%d stacks were logged:\n%s", n, log.String())
	}
}
