package middleware_test

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/eventbus-go/eventbus/router"
	"github.com/eventbus-go/eventbus/router/middleware"
	"github.com/eventbus-go/eventbus/schema"
)

type badPrinter struct{}

func (*badPrinter) String() string { panic("no text either") }

func TestAPanicBecomesAnError(t *testing.T) {
	var nilMap map[string]int
	for _, tt := range []struct {
		name  string
		panic func()
		text  string // the whole, unless it ends in "…"
	}{
		{"a string", func() { panic("boom") }, "panic: boom"},
		{"an error", func() { panic(io.ErrUnexpectedEOF) }, "panic: unexpected EOF"},
		{"a number", func() { panic(42) }, "panic: 42"},
		{"nil", func() { panic(nil) }, "panic: panic called with nil argument…"},
		{"a nil map", func() { nilMap["x"] = 1 }, "panic: assignment to entry in nil map"},
		{"an index", func() { _ = []int{}[len(nilMap)] }, "panic: runtime error: index out of range [0] with length 0"},
		{"a struct", func() { panic(struct{ big [1 << 20]int }{}) }, "panic: a value of type struct { big [1048576]int }"},
		{"one that cannot be printed", func() { panic(new(badPrinter)) },
			"panic: a *middleware_test.badPrinter that panics when it is printed"},
		{"a huge string", func() { panic(strings.Repeat("é", 1<<20)) }, "panic: ééé…"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var seen *middleware.PanicError
			h := middleware.Recover(func(p *middleware.PanicError) { seen = p })(
				func(context.Context, schema.Event) error { tt.panic(); return nil })
			err := h(t.Context(), schema.Event{})
			var p *middleware.PanicError
			if !errors.As(err, &p) || p != seen {
				t.Fatalf("got %v and onPanic saw %v, want one *PanicError", err, seen)
			}
			head, cut := strings.CutSuffix(tt.text, "…")
			if text := err.Error(); !strings.HasPrefix(text, head) || !cut && text != tt.text {
				t.Errorf("got the text %.100q, want %q", text, tt.text)
			}
			if text := err.Error(); len(text) > 1<<10+len("panic: ") || !utf8.ValidString(text) {
				t.Errorf("the text has %d bytes, want at most 1 KiB of valid UTF-8", len(text))
			}
			if !strings.Contains(string(p.Stack), "TestAPanicBecomesAnError") || len(p.Stack) > 16<<10 {
				t.Errorf("the stack (%d bytes) does not show the handler:\n%s", len(p.Stack), p.Stack)
			}
		})
	}
}

func TestAnErrorThatWasPanickedWithIsFound(t *testing.T) {
	h := middleware.Recover(nil)(func(context.Context, schema.Event) error { panic(router.Permanent(io.EOF)) })
	err := h(t.Context(), schema.Event{})
	var permanent *router.PermanentError
	if !errors.Is(err, io.EOF) || !errors.As(err, &permanent) {
		t.Errorf("got %v, want it to wrap the value", err)
	}
}

func TestAPanicInOnPanicIsContained(t *testing.T) {
	h := middleware.Recover(func(*middleware.PanicError) { panic("again") })(
		func(context.Context, schema.Event) error { panic("boom") })
	if err := h(t.Context(), schema.Event{}); err == nil || err.Error() != "panic: boom" {
		t.Errorf("got %v, want the first panic", err)
	}
}

func TestWithoutAPanicTheResultPassesThrough(t *testing.T) {
	for _, want := range []error{nil, io.EOF} {
		h := middleware.Recover(func(*middleware.PanicError) { t.Error("onPanic was called") })(
			func(context.Context, schema.Event) error { return want })
		if err := h(t.Context(), schema.Event{}); err != want {
			t.Errorf("got %v, want %v", err, want)
		}
	}
}

// A handler that ends its goroutine must not look as if it had succeeded.
func TestGoexitGoesThroughAndNeverReturnsSuccess(t *testing.T) {
	h := router.Chain(func(context.Context, schema.Event) error { runtime.Goexit(); return nil },
		middleware.Retry(middleware.Policy{}),
		middleware.Timeout(1<<40),
		middleware.Recover(func(*middleware.PanicError) { t.Error("onPanic was called for Goexit") }))
	returned := make(chan bool, 1)
	go func() {
		done := false
		defer func() { returned <- done }()
		_ = h(t.Context(), schema.Event{})
		done = true
	}()
	if <-returned {
		t.Error("the chain returned after Goexit")
	}
}

// Under GODEBUG=panicnil=1 recover returns nil for panic(nil), as if nothing had happened.
func TestPanicNilIsAnErrorUnderTheOldSetting(t *testing.T) {
	if os.Getenv("TEST_PANICNIL") != "" {
		called := false
		h := middleware.Recover(func(*middleware.PanicError) { called = true })(
			func(context.Context, schema.Event) error { panic(nil) })
		err := h(t.Context(), schema.Event{})
		if err == nil || err.Error() != "panic: nil" || !called {
			t.Errorf("got %v, onPanic called %v; want the error panic: nil, reported", err, called)
		}
		return
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), "TEST_PANICNIL=1", "GODEBUG=panicnil=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v:\n%s", err, out)
	}
}
