package middleware

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"

	"github.com/eventbus-go/eventbus/router"
	"github.com/eventbus-go/eventbus/schema"
)

const (
	// maxPanicText is how much of a panic's value is in the text of its error, in bytes: what a log line can bear.
	maxPanicText = 1 << 10
	// maxStack is how much of a panicking goroutine's stack is kept, in bytes. The innermost frames come first, so what
	// a deep recursion loses is its beginning.
	maxStack = 16 << 10
)

// A PanicError is a panic that [Recover] turned into an error.
type PanicError struct {
	// Value is what the handler panicked with, as it is: it stays in memory for as long as the error does.
	Value any
	// Stack is the stack of the goroutine at the panic as the runtime prints it, at most 16 KiB of it.
	Stack []byte
}

// Error returns the text of the value, at most 1 KiB of it; of a value that has no text of its own, only the type.
func (e *PanicError) Error() string { return "panic: " + PanicText(e.Value) }

// Unwrap returns the value where it is an error, so that errors.Is and errors.As see it.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// Recover turns a panic of the handler into a [*PanicError], which is then retried like any other error, and calls
// onPanic, unless that is nil, for logging and counting. A panic in onPanic is contained and ignored.
//
// An error whose own methods panic is a panic of the handler, so that nobody who looks at it later has to be afraid of it: a nil
// pointer of an error type that is returned as an error is the usual one.
//
// A panic(nil) is an error too, also under GODEBUG=panicnil=1. It cannot help with what the runtime makes fatal, such as
// concurrent writes to a map, a stack overflow, or a panic in a goroutine that the handler started.
//
// A handler that calls runtime.Goexit ends its goroutine in spite of Recover: no caller gets a result, neither an error
// nor success, and onPanic is not called. Whoever owns the goroutine has to notice, by a deferred call, and to count the
// event as failed; the bus does so.
func Recover(onPanic func(p *PanicError)) router.Middleware {
	return func(next router.Handler) router.Handler {
		return func(ctx context.Context, e schema.Event) error {
			p, err := recovered(ctx, e, next)
			if p == nil {
				return err
			}
			report(onPanic, p)
			return p
		}
	}
}

// recovered calls next. It is a function of its own because what comes after it in the caller does not run when the
// goroutine is ending, which recover's nil does not tell from a panic(nil) under GODEBUG=panicnil=1.
func recovered(ctx context.Context, e schema.Event, next router.Handler) (p *PanicError, err error) {
	returned := false
	defer func() {
		if !returned {
			p = &PanicError{Value: recover(), Stack: stack()}
		}
	}()
	err = next(ctx, e)
	tryOut(err)
	returned = true
	return nil, err
}

// tryOut calls the methods of an error that others will call.
func tryOut(err error) {
	if err != nil {
		_ = err.Error()
		_ = errors.As(err, new(*router.DropError))
	}
}

func report(onPanic func(*PanicError), p *PanicError) {
	if onPanic == nil {
		return
	}
	defer func() { _ = recover() }()
	onPanic(p)
}

func stack() []byte {
	buf := make([]byte, maxStack)
	return buf[:runtime.Stack(buf, false)]
}

// PanicText returns the text of a panic's value as Error shows it, for who recovers by other means than Recover.
func PanicText(v any) string { return clip(panicText(v)) }

// panicText formats what has a text that costs little, and names only the type of everything else: formatting any
// value with %v would walk through all that it holds, and could race with whoever still changes it.
func panicText(v any) (text string) {
	defer func() {
		if recover() != nil { // by the value's own method
			text = fmt.Sprintf("a %T that panics when it is printed", v)
		}
	}()
	switch v := v.(type) {
	case nil:
		return "nil"
	case error:
		return v.Error()
	case fmt.Stringer:
		return v.String()
	case string:
		return v
	case bool, int, int8, int16, int32, int64, uint, uint8, uint16, uint32, uint64, uintptr,
		float32, float64, complex64, complex128:
		return fmt.Sprint(v)
	default:
		return fmt.Sprintf("a value of type %T", v)
	}
}

// clip cuts s to maxPanicText, between two runes.
func clip(s string) string {
	if len(s) <= maxPanicText {
		return s
	}
	return strings.ToValidUTF8(s[:maxPanicText-len("…")], "") + "…"
}
